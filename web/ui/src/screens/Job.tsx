// One job, live: its stages, where the time goes, what it came to, why it failed and what to do, and its log.
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';
import { api, ask } from '../api/client';
import { madePoint } from '../api/jobResult';
import { job as jobQuery, type Job } from '../api/queries';
import { useMay } from '../app/session';
import { bytes, duration, number } from '../logic/units';
import { useAct } from '../parts/act';
import { Advice } from '../parts/Advice';
import { Commands } from '../parts/Commands';
import { JobLog } from '../parts/JobLog';
import { Kept } from '../parts/Kept';
import { Note } from '../parts/Note';
import { Facts, Screen, Sheet } from '../parts/Screen';
import { Shares, Stages } from '../parts/Stages';
import { JobStateWord } from '../parts/State';
import { FailureNote, Read, sentence } from '../parts/states';
import { useNow, When } from '../parts/When';
import classes from './Job.module.css';

const OVER = ['succeeded', 'failed', 'cancelled'];

export default function JobScreen() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const found = useQuery(jobQuery(id));
  const job = found.data;
  return (
    <Screen
      title={job ? t('job.title', { kind: t(`jobKind.${job.kind}`), plan: job.plan }).trim() : t('jobs.job')}
      lead={
        job && (
          <span className="row tight">
            <JobStateWord state={job.state} isCancelling={job.cancelling} />
            <Link to={`/machines/${job.agent_id}`}>{job.agent}</Link>
            {job.plan_id && (
              <>
                · <Link to={`/plans/${job.plan_id}`}>{job.plan}</Link>
              </>
            )}
          </span>
        )
      }
      back={{ to: '/jobs', text: t('jobs.title') }}
      actions={job && <Actions job={job} changed={() => void found.refetch()} />}
    >
      <Read query={found}>{(job) => <Whole job={job} />}</Read>
    </Screen>
  );
}

function Whole({ job }: { job: Job }) {
  const { t } = useTranslation();
  const isOver = OVER.includes(job.state);
  const warnings = madePoint(job)?.warnings ?? [];
  return (
    <>
      {job.error && <Failed job={job} />}
      {warnings.length > 0 && (
        <Note title={t('job.warnings')}>
          <ul>
            {warnings.map((warning) => (
              <li key={warning}>{sentence(warning)}</li>
            ))}
          </ul>
        </Note>
      )}
      {job.state === 'queued' && (
        <Sheet>
          <p>{job.not_before_at && new Date(job.not_before_at) > new Date() ? t('job.waitsUntil') : t('job.waits')}{' '}
            {job.not_before_at && new Date(job.not_before_at) > new Date() && <When at={job.not_before_at} />}
          </p>
        </Sheet>
      )}
      <div className="columns two">
        <div className="stack">
          {job.progress && job.progress.stages && job.progress.stages.length > 0 && (
            <Sheet title={isOver ? t('job.course') : t('job.progress')}>
              <div className="stack wide">
                <Stages stages={job.progress.stages} />
                {job.progress.shares && <Shares shares={job.progress.shares} />}
              </div>
            </Sheet>
          )}
          <JobLog id={job.id} isLive={!isOver} />
        </div>
        <div className="stack">
          {madePoint(job) ? <Result job={job} /> : <Kept job={job} />}
          <Times job={job} />
        </div>
      </div>
    </>
  );
}

function Failed({ job }: { job: Job }) {
  const { t } = useTranslation();
  const error = job.error;
  if (!error) return null;
  const comes = job.state === 'queued' || job.state === 'running';
  return (
    <section className={classes.failed} data-comes={comes || undefined} aria-label={t('job.failure')}>
      <p className={classes.what}>{sentence(error.what)}</p>
      {error.why.length > 0 && (
        <div>
          <p className="faint">{t('job.cause')}</p>
          <ul className={classes.why}>
            {error.why.map((why, at) => (
              <li key={at}>{sentence(why)}</li>
            ))}
          </ul>
        </div>
      )}
      {error.next && (
        <div>
          <p className="faint">{t('job.fix')}</p>
          <Advice text={error.next} />
        </div>
      )}
      <p className="faint">
        {t('job.attemptOf', { attempt: error.attempt, of: job.attempts_allowed })} · <span className="mono">{error.code}</span>
        {comes && ` · ${t('job.comes')}`}
      </p>
    </section>
  );
}

function Result({ job }: { job: Job }) {
  const { t, i18n } = useTranslation();
  const result = madePoint(job);
  if (!result) return null;
  const size = (count: number) => bytes(count, i18n.language);
  return (
    <Sheet title={t('job.point')}>
      <div className="stack">
        <p>
          <Link to={`/points/${result.point}`}>
            {result.point_name} #{number(result.sequence, i18n.language)}
          </Link>{' '}
          <span className="mono faint">{result.point.slice(0, 16)}</span>
        </p>
        <Facts
          items={[
            [t('job.source'), size(result.source_bytes)],
            [t('job.changed'), size(result.changed_bytes)],
            [t('jobs.read'), size(result.read_bytes)],
            [t('jobs.stored'), size(result.stored_bytes)],
            [t('jobs.took'), duration(result.took_ms)],
            [t('job.provider'), t(`provider.${result.provider}`, { defaultValue: result.provider })],
          ]}
        />
        {result.full_read_reason && <p className="faint">{t('job.fullRead', { reason: result.full_read_reason })}</p>}
        <div className="row apart">
          <span className="faint">{t('job.restoreHint')}</span>
          <Commands of={t('job.point')} cli={`icecore restore ${result.point.slice(0, 12)} --to /dev/sdX`} call={{ method: 'GET', path: `/api/v1/jobs/${job.id}` }} />
        </div>
      </div>
    </Sheet>
  );
}

function Times({ job }: { job: Job }) {
  const { t, i18n } = useTranslation();
  const now = useNow(1000);
  const counts = job.progress?.counts;
  const ran = job.started_at ? new Date(job.ended_at ?? now).getTime() - new Date(job.started_at).getTime() : undefined;
  const size = (count: number) => bytes(count, i18n.language);
  const isRunning = job.state === 'running';
  return (
    <Sheet title={t('job.facts')}>
      <Facts
        items={[
          [t('job.causeOf'), t(`jobCause.${job.cause}`)],
          [t('job.due'), <When key="d" at={job.due_at} exact />],
          [t('jobs.began'), <When key="b" at={job.started_at} exact />],
          [t('job.ended'), job.ended_at ? <When key="e" at={job.ended_at} exact /> : '–'],
          [t('jobs.took'), ran === undefined ? '–' : duration(Math.max(0, ran))],
          [t('job.attempt'), t('job.attemptOf', { attempt: job.attempt, of: job.attempts_allowed })],
          ...(counts && isRunning
            ? ([
                [t('job.readSoFar'), size(counts.read_bytes ?? 0)],
                [t('job.zero'), size(counts.zero_bytes ?? 0)],
                [t('job.known'), size(counts.known_bytes ?? 0)],
                [t('job.new'), size(counts.new_bytes ?? 0)],
                [t('jobs.stored'), size(counts.stored_bytes ?? 0)],
              ] as [string, string][])
            : []),
        ]}
      />
    </Sheet>
  );
}

function Actions({ job, changed }: { job: Job; changed: () => void }) {
  const { t } = useTranslation();
  const may = useMay('operate');
  const params = { params: { path: { id: job.id } } };
  const cancel = useAct(async () => {
    await ask(api.POST('/api/v1/jobs/{id}/cancel', params));
    changed();
  });
  const retry = useAct(async () => {
    await ask(api.POST('/api/v1/jobs/{id}/retry', params));
    changed();
  });
  if (!may) return null;
  const failure = cancel.failure ?? retry.failure;
  const isOpen = !OVER.includes(job.state);
  const verb = isOpen ? 'cancel' : 'retry';
  return (
    <>
      {failure && <FailureNote failure={failure} />}
      {isOpen && (
        <Button variant="default" onClick={() => void cancel.run()} loading={cancel.isBusy} disabled={job.cancelling}>
          {t('job.cancel')}
        </Button>
      )}
      {(job.state === 'failed' || job.state === 'cancelled') && (
        <Button onClick={() => void retry.run()} loading={retry.isBusy}>
          {t('job.retry')}
        </Button>
      )}
      {job.state !== 'succeeded' && <Commands of={t(`job.${verb}`)} call={{ method: 'POST', path: `/api/v1/jobs/${job.id}/${verb}` }} />}
    </>
  );
}
