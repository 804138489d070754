// How many plans begin in which hour of the coming week: where the load lies, and where there is room.
import { useTranslation } from 'react-i18next';
import type { Plan } from '../api/queries';
import { runsBetween } from '../logic/schedule';
import { day as dayName } from '../logic/units';
import { useNow } from './When';
import classes from './Load.module.css';

const DAYS = 7;
const HOURS = 24;

export function Load({ plans }: { plans: Plan[] }) {
  const { t, i18n } = useTranslation();
  const now = useNow(300_000);
  const from = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const until = new Date(from.getTime() + DAYS * HOURS * 3_600_000 - 1);
  const counts = Array.from({ length: DAYS }, () => new Array<string[]>(HOURS).fill([]));
  for (const plan of plans.filter((one) => one.when.cron && !one.paused)) {
    for (const at of runsBetween(plan.when.cron ?? undefined, plan.when.zone ?? 'UTC', new Date(from.getTime() - 1), until, 2000)) {
      const row = counts[Math.floor((at.getTime() - from.getTime()) / (HOURS * 3_600_000))];
      if (row) row[at.getHours()] = [...(row[at.getHours()] ?? []), plan.name];
    }
  }
  const most = Math.max(1, ...counts.flat().map((names) => names.length));
  return (
    <div className={classes.frame} tabIndex={0} role="region" aria-label={t('plans.load')}>
      <table className={classes.load}>
        <thead>
          <tr>
            <td />
            {Array.from({ length: HOURS }, (_, hour) => (
              <th key={hour} scope="col">
                {hour % 3 === 0 ? hour : <span className="hidden">{hour}</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {counts.map((row, at) => (
            <tr key={at}>
              <th scope="row">{dayName(new Date(from.getTime() + (at + 0.5) * HOURS * 3_600_000), i18n.language)}</th>
              {row.map((names, hour) => (
                <td key={hour} data-level={names.length === 0 ? 0 : Math.ceil((4 * names.length) / most)} title={names.length > 0 ? `${hour}:00 · ${names.slice(0, 8).join(', ')}` : undefined}>
                  <span className="hidden">{names.length}</span>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
