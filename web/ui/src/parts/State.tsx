// How something is, in one word and one colour. The word says it alone, too.
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { JobState } from '../api/queries';
import classes from './State.module.css';

export type Tone = 'good' | 'late' | 'bad' | 'none' | 'busy';

export function State({ tone, children }: { tone: Tone; children: ReactNode }) {
  return (
    <span className={classes.state} data-tone={tone}>
      {children}
    </span>
  );
}

const TONES: Record<JobState, Tone> = { queued: 'none', running: 'busy', succeeded: 'good', failed: 'bad', cancelled: 'none' };

export function JobStateWord({ state, isCancelling }: { state: JobState; isCancelling?: boolean }) {
  const { t } = useTranslation();
  return <State tone={TONES[state]}>{isCancelling ? t('job.cancelling') : t(`jobState.${state}`)}</State>;
}
