// How a recovery point is, in a word.
import { useTranslation } from 'react-i18next';
import { pointState, type PointFacts, type PointState } from '../logic/pointState';
import { State, type Tone } from './State';

const TONES: Record<PointState, Tone> = { proved: 'good', unproved: 'none', suspect: 'late', flawed: 'bad', forgotten: 'late', gone: 'none' };

export function PointStateWord({ point }: { point: PointFacts }) {
  const { t } = useTranslation();
  const state = pointState(point);
  return <State tone={TONES[state]}>{t(`pointState.${state}`)}</State>;
}
