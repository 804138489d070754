// What came of a restore, of a look at what one would do, and of the comparison afterwards.
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate } from 'react-router';
import { api, ask, type Schemas } from '../api/client';
import { keptResult, restoreWork } from '../api/jobResult';
import { job as jobQuery, type Job } from '../api/queries';
import { useMay } from '../app/session';
import { bytes, duration, number } from '../logic/units';
import { useAct } from './act';
import { Advice } from './Advice';
import { Commands } from './Commands';
import { JobLine } from './JobLine';
import { Note } from './Note';
import { Facts } from './Screen';
import { State } from './State';
import { FailureNote, Read, sentence } from './states';

type Result = Schemas['RestoreResult'];

function Amounts({ result }: { result: Result }) {
  const { t, i18n } = useTranslation();
  const size = (count: number) => bytes(count, i18n.language);
  const files = result.restored;
  const count = (files: number) => number(files, i18n.language);
  const amounts: [string, string][] = files
    ? [
        [t('restored.files'), count(result.files ?? 0)],
        [t('restored.length'), size(result.target_bytes)],
        [t('restored.replaced'), count(files.replaced)],
        [t('restored.beside'), count(files.beside)],
        [t('restored.skipped'), count(files.skipped)],
        // A dry run reads no content, so it cannot tell.
        ...(result.dry_run ? [] : ([[t('restored.same'), count(files.unchanged)], [t('restored.incomplete'), count(files.incomplete)]] as [string, string][])),
      ]
    : [
        [t('restored.length'), size(result.target_bytes)],
        [result.dry_run ? t('restored.wouldWrite') : t('restored.written'), size(result.written_bytes)],
        [result.dry_run ? t('restored.wouldZero') : t('restored.zeroed'), size(result.zeroed_bytes)],
        [t('restored.unchanged'), size(result.unchanged_bytes)],
        ...(result.files == null ? [] : ([[t('restored.files'), count(result.files)]] as [string, string][])),
      ];
  return (
    <>
      <Facts items={[...amounts, [t('jobs.took'), duration(result.took_ms)]]} />
      {result.notes.length > 0 && (
        <Note title={t('job.warnings')}>
          <ul>
            {result.notes.map((note) => (
              <li key={note}>{sentence(note)}</li>
            ))}
          </ul>
        </Note>
      )}
    </>
  );
}

/** A dry run under the wizard, while it runs and after. */
export function Trial({ id }: { id: string }) {
  const { t } = useTranslation();
  const found = useQuery(jobQuery(id));
  return (
    <Read query={found} lines={2}>
      {(job) => {
        const result = keptResult(job, 'restore');
        if (result) {
          return (
            <div className="stack" role="status">
              <p>
                <State tone="good">{t('restored.trialDone')}</State>
              </p>
              <Amounts result={result} />
            </div>
          );
        }
        if (job.state === 'failed' && job.error) {
          return (
            <Note title={sentence(job.error.what)} isUrgent>
              {job.error.why.map((why) => (
                <p key={why} className="soft">
                  {sentence(why)}
                </p>
              ))}
              {job.error.next && <Advice text={job.error.next} />}
            </Note>
          );
        }
        return <JobLine job={job} />;
      }}
    </Read>
  );
}

/** On the page of a restore's job. */
export function Restored({ job, result }: { job: Job; result: Result }) {
  const { t, i18n } = useTranslation();
  const work = restoreWork(job);
  const differs = result.written_bytes + result.zeroed_bytes;
  const isCheck = result.dry_run && work?.delta;
  return (
    <div className="stack">
      {work && (
        <p>
          <Link to={`/points/${work.point}`} className="mono">{work.point.slice(0, 12)}</Link> → <span className="mono">{result.target}</span>
        </p>
      )}
      {isCheck ? (
        <p className="row tight" role="status">
          <State tone={differs === 0 ? 'good' : 'bad'}>{differs === 0 ? t('restored.same') : t('restored.differs')}</State>
          {differs === 0 ? t('restored.sameMore') : t('restored.differsMore', { size: bytes(differs, i18n.language) })}
        </p>
      ) : (
        result.dry_run && <p className="soft">{t('restored.onlyLooked')}</p>
      )}
      <Amounts result={result} />
      {work && !result.dry_run && <Check work={work} />}
      {work && result.dry_run && !isCheck && <Link to={`/restore?point=${work.point}`}>{t('points.restore')}</Link>}
    </div>
  );
}

/** Reads what was written and compares it with the point. Images and files have no such comparison. */
function Check({ work }: { work: Schemas['RestoreWork'] }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const may = useMay('restore');
  const body = { point: work.point, target: work.target ?? '', ...(work.disk ? { disk: work.disk } : {}), ...(work.partition ? { partition: work.partition } : {}), ...(work.agent_id ? { agent_id: work.agent_id } : {}), delta: true, dry_run: true };
  const check = useAct(async () => {
    const job = await ask(api.POST('/api/v1/restores', { body }));
    await go(`/jobs/${job.id}`);
  });
  const isComparable = (work.files?.length ?? 0) === 0 && (work.format ?? 'raw') === 'raw';
  if (!may || !isComparable) return null;
  return (
    <div className="stack tight">
      {check.failure && <FailureNote failure={check.failure} />}
      <p className="soft small">{t('restored.checkMore')}</p>
      <div className="row">
        <Button onClick={() => void check.run()} loading={check.isBusy}>
          {t('restored.check')}
        </Button>
        <Commands of={t('restored.check')} cli={`icecore restore ${work.point.slice(0, 12)} --to ${work.target ?? ''} --delta --dry-run`} call={{ method: 'POST', path: '/api/v1/restores', body }} />
      </div>
    </div>
  );
}
