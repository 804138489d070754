// A job in one line, with how far it is.
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { Job } from '../api/queries';
import { bytes } from '../logic/units';
import classes from './JobLine.module.css';
import { JobStateWord } from './State';

export function JobLine({ job }: { job: Job }) {
  const { t, i18n } = useTranslation();
  const stage = job.progress?.stages?.at(-1);
  const share = stage?.total ? Math.min(1, stage.done / stage.total) : undefined;
  return (
    <div className={classes.line}>
      <div className="row apart tight">
        <Link to={`/jobs/${job.id}`} className={classes.name}>
          {job.plan || t(`jobKind.${job.kind}`)} <span className="soft">· {job.agent}</span>
        </Link>
        <JobStateWord state={job.state} isCancelling={job.cancelling} />
      </div>
      {stage && (
        <>
          <span className={classes.track} aria-hidden="true">
            <span style={{ width: `${100 * (share ?? 0)}%` }} />
          </span>
          <span className="faint numbers">
            {t(`stage.${stage.name}`, { defaultValue: stage.name })}
            {share !== undefined ? ` ${Math.floor(100 * share)} %` : ''}
            {stage.unit === 'bytes' && stage.per_s > 0 ? ` · ${bytes(stage.per_s, i18n.language)}/s` : ''}
          </span>
        </>
      )}
    </div>
  );
}
