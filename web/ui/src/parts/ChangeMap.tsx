// Where the disks of a machine changed: each backup a layer, the newest at the bottom, the disk from its first byte to its last.
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { madePoint } from '../api/jobResult';
import type { Job } from '../api/queries';
import { diskRows, runs, touched, type DiskRows } from '../logic/changeMap';
import { bytes, moment } from '../logic/units';
import classes from './ChangeMap.module.css';

/** Layers of each disk. */
const MOST = 30;
const PARTS = 128;

export default function ChangeMap({ jobs }: { jobs: Job[] }) {
  const { t } = useTranslation();
  const backups = jobs.flatMap((job) => {
    const disks = madePoint(job)?.disks;
    return disks?.length && job.ended_at ? [{ id: job.id, at: job.ended_at, disks }] : [];
  });
  return (
    <div className="stack">
      {diskRows(backups, MOST).map((disk) => (
        <DiskLayers key={disk.name} disk={disk} />
      ))}
      <ul className={classes.legend} aria-label={t('changeMap.legend')}>
        {[1, 2, 3, 4].map((depth) => (
          <li key={depth}>
            <span className={classes.sample} data-depth={depth} /> {t(`changeMap.depth${depth}`)}
          </li>
        ))}
      </ul>
    </div>
  );
}

function DiskLayers({ disk }: { disk: DiskRows }) {
  const { t, i18n } = useTranslation();
  const { name, rows, size_bytes } = disk;
  const newest = rows.at(-1);
  if (!newest) return null;
  const part = bytes(size_bytes / PARTS, i18n.language);
  const share = (percent: number[]) => t('changeMap.touched', { count: touched(percent), all: PARTS, part });
  return (
    <div className="stack tight">
      <div className="row apart">
        <span className={classes.name}>{name}</span>
        <span className="faint numbers">
          {t('changeMap.last')}: <Link to={`/jobs/${newest.id}`}>{share(newest.percent)}</Link>
        </span>
      </div>
      <svg
        className={classes.layers}
        style={{ height: Math.max(28, rows.length * 9) }}
        viewBox={`0 0 ${PARTS} ${rows.length}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={t('changeMap.drawn', { name, count: rows.length, last: share(newest.percent) })}
      >
        {rows.map((row, y) => (
          <g key={row.id}>
            <title>{`${moment(new Date(row.at), i18n.language)}: ${share(row.percent)}`}</title>
            <rect x={0} y={y} width={PARTS} height={1} className={classes.ground} />
            {runs(row.percent).map((run) => (
              <rect key={run.from} x={run.from} y={y + 0.06} width={run.length} height={0.88} data-depth={run.depth} className={classes.change} />
            ))}
          </g>
        ))}
      </svg>
      <div className="row apart">
        <span className="faint numbers">0</span>
        <span className="faint numbers">{bytes(size_bytes, i18n.language)}</span>
      </div>
    </div>
  );
}
