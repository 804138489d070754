// Jobs as a list.
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { madePoint } from '../api/jobResult';
import type { Job } from '../api/queries';
import { bytes, duration } from '../logic/units';
import { Rows } from './Rows';
import { JobStateWord } from './State';
import { When } from './When';

export function JobRows({ jobs, hidesMachine }: { jobs: Job[]; hidesMachine?: boolean }) {
  const { t, i18n } = useTranslation();
  const size = (count: number | undefined) => (count === undefined ? '–' : bytes(count, i18n.language));
  const took = (job: Job) =>
    job.started_at ? duration(new Date(job.ended_at ?? Date.now()).getTime() - new Date(job.started_at).getTime()) : '–';
  return (
    <Rows
      label={t('jobs.title')}
      items={jobs}
      rowKey={(job) => job.id}
      columns={[
        { name: t('jobs.job'), cell: (job) => <Link to={`/jobs/${job.id}`}>{job.plan || t(`jobKind.${job.kind}`)}</Link> },
        ...(hidesMachine ? [] : [{ name: t('machines.machine'), cell: (job: Job) => job.agent }]),
        { name: t('machines.state'), isTight: true, cell: (job) => <JobStateWord state={job.state} isCancelling={job.cancelling} /> },
        { name: t('jobs.began'), cell: (job) => <When at={job.started_at ?? job.created_at} /> },
        { name: t('jobs.took'), isNumber: true, cell: took },
        { name: t('jobs.read'), isNumber: true, cell: (job) => size(madePoint(job)?.read_bytes) },
        { name: t('jobs.stored'), isNumber: true, cell: (job) => size(madePoint(job)?.stored_bytes) },
      ]}
    />
  );
}
