// Which recovery points a plan will have on a day to come, when it runs as it says from now on.
import { Slider } from '@mantine/core';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { kept, type Keep } from '../logic/keep';
import { runsBetween } from '../logic/schedule';
import { bytes, day as dayName, number } from '../logic/units';
import classes from './Simulator.module.css';

const DAY_MS = 86_400_000;
/** Places of the slider, in days. */
const AHEAD = [1, 7, 30, 90, 180, 365];
/** An hourly plan has more runs in a year than anybody wants to look at; a bound keeps the page quick. */
const MOST_RUNS = 9000;

interface SimulatorProps {
  cron: string | undefined;
  zone: string;
  keep: Keep;
  /** What earlier backups stored: the first, and each further one on average. Missing where there is nothing to go by. */
  sizes?: { first: number; further: number; from: number };
}

export function Simulator({ cron, zone, keep, sizes }: SimulatorProps) {
  const { t, i18n } = useTranslation();
  const [place, setPlace] = useState(AHEAD.length - 1);
  const [start] = useState(() => new Date());
  const runs = useMemo(
    () => runsBetween(cron, zone, start, new Date(start.getTime() + 365 * DAY_MS), MOST_RUNS),
    [cron, zone, start],
  );
  const days = AHEAD[place] ?? 365;
  const at = new Date(start.getTime() + days * DAY_MS);
  const points = useMemo(() => kept(runs, keep, at, zone), [runs, keep, zone, days]);
  if (!cron) return <p className="soft">{t('simulator.asked')}</p>;
  if (runs.length === 0) return <p className="soft">{t('simulator.wrong')}</p>;
  const oldest = points.at(-1);
  const estimate = sizes && points.length > 0 ? sizes.first + sizes.further * (points.length - 1) : undefined;
  const made = runs.filter((run) => run <= at).length;
  return (
    <div className="stack">
      <p className={classes.sentence}>
        {t('simulator.sentence', { when: t(`simulator.in${days}`), count: points.length, made: number(made, i18n.language) })}{' '}
        {oldest && t('simulator.oldest', { day: dayName(oldest, i18n.language) })}{' '}
        {estimate !== undefined && <strong>{t('simulator.size', { size: bytes(estimate, i18n.language), count: sizes?.from ?? 0 })}</strong>}
      </p>
      <Years points={points} from={start} until={at} />
      <Slider
        className={classes.slider}
        min={0}
        max={AHEAD.length - 1}
        step={1}
        value={place}
        onChange={setPlace}
        label={null}
        marks={AHEAD.map((ahead, value) => ({ value, label: t(`simulator.mark${ahead}`) }))}
        thumbLabel={t('simulator.ahead')}
        thumbProps={{ 'aria-valuetext': t(`simulator.in${days}`) }}
      />
      <p className="faint">{t('simulator.verified')}</p>
    </div>
  );
}

/** The points as layers of a core that lies on its side, now at the left. */
function Years({ points, from, until }: { points: Date[]; from: Date; until: Date }) {
  const { t, i18n } = useTranslation();
  const span = until.getTime() - from.getTime();
  return (
    <div className={classes.core} role="img" aria-label={t('simulator.drawn', { count: points.length })}>
      {points.slice(0, 400).map((at) => (
        <span key={at.getTime()} className={classes.layer} style={{ left: `${(100 * (at.getTime() - from.getTime())) / span}%` }} title={at.toLocaleString(i18n.language)} />
      ))}
    </div>
  );
}
