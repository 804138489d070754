// What came of a keeper's job: a verification, a check, a prune, giving up.
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { keptResult } from '../api/jobResult';
import type { Job } from '../api/queries';
import { bytes, duration, number } from '../logic/units';
import { Restored } from './Restored';
import { Facts, Sheet } from './Screen';
import { State } from './State';
import { sentence } from './states';
import { When } from './When';

/** So many points are named; the rest is a number. */
const NAMED = 20;

export function Kept({ job }: { job: Job }) {
  const { t } = useTranslation();
  const restored = keptResult(job, 'restore');
  const content = restored ? <Restored job={job} result={restored} /> : contentOf(job);
  return content ? <Sheet title={t('kept.title')}>{content}</Sheet> : null;
}

function contentOf(job: Job) {
  const [verify, check, prune, forget] = [keptResult(job, 'verify'), keptResult(job, 'check'), keptResult(job, 'prune'), keptResult(job, 'forget')];
  if (verify) return <Verified result={verify} />;
  if (check) return <Checked result={check} />;
  if (prune) return <Pruned result={prune} />;
  return forget ? <Forgotten result={forget} /> : null;
}

type ResultOf<K extends Parameters<typeof keptResult>[1]> = NonNullable<ReturnType<typeof keptResult<K>>>;

function PointIds({ ids }: { ids: string[] }) {
  const { t } = useTranslation();
  return (
    <p className="row tight">
      {ids.slice(0, NAMED).map((id) => (
        <Link key={id} to={`/points/${id}`} className="mono">
          {id.slice(0, 12)}
        </Link>
      ))}
      {ids.length > NAMED && <span className="faint">{t('kept.further', { count: ids.length - NAMED })}</span>}
    </p>
  );
}

function Verified({ result }: { result: ResultOf<'verify'> }) {
  const { t, i18n } = useTranslation();
  const flawed = result.points.filter((point) => point.flaw);
  return (
    <div className="stack">
      <p>
        <State tone={flawed.length > 0 || result.damaged.length > 0 ? 'bad' : 'good'}>{flawed.length > 0 || result.damaged.length > 0 ? t('kept.damage') : t('kept.whole')}</State>
      </p>
      <Facts
        items={[
          [t('points.title'), number(result.points.length, i18n.language)],
          [t('kept.packs'), number(result.packs_read, i18n.language)],
          [t('kept.chunks'), number(result.chunks_opened, i18n.language)],
          [t('jobs.read'), bytes(result.read_bytes, i18n.language)],
          [t('jobs.took'), duration(result.took_ms)],
        ]}
      />
      {flawed.map((point) => (
        <p key={point.point}>
          <Link to={`/points/${point.point}`} className="mono">{point.point.slice(0, 12)}</Link>: {sentence(point.flaw ?? '')}
        </p>
      ))}
      {flawed.length === 0 && <PointIds ids={result.points.map((point) => point.point)} />}
    </div>
  );
}

function Checked({ result }: { result: ResultOf<'check'> }) {
  const { t, i18n } = useTranslation();
  return (
    <div className="stack">
      <p>
        <State tone={result.errors > 0 ? 'bad' : 'good'}>{result.errors > 0 ? t('kept.errors', { count: result.errors }) : t('kept.whole')}</State>
      </p>
      <Facts
        items={[
          [t('points.title'), number(result.points, i18n.language)],
          [t('kept.packsFound'), number(result.packs, i18n.language)],
          [t('kept.packs'), number(result.packs_read, i18n.language)],
          [t('jobs.took'), duration(result.took_ms)],
        ]}
      />
      <ul className="stack tight">
        {result.findings.map((finding, at) => (
          <li key={at}>
            <p>
              <span className="mono">{finding.object}</span>: {sentence(finding.what)}
            </p>
            <p className="soft">{sentence(finding.next)}</p>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Pruned({ result }: { result: ResultOf<'prune'> }) {
  const { t, i18n } = useTranslation();
  const size = (count: number) => bytes(count, i18n.language);
  return (
    <div className="stack">
      {result.dry_run && <p className="soft">{t('restored.onlyLooked')}</p>}
      <Facts
        items={[
          [t('kept.givenUp'), number(result.given_up.length, i18n.language)],
          [t('kept.deleted'), number(result.points_deleted.length, i18n.language)],
          [t('kept.freed'), size(result.freed_bytes)],
          [t('kept.condemned'), size(result.condemned_bytes)],
          [t('kept.live'), size(result.live_bytes)],
          [t('kept.dead'), size(result.dead_bytes)],
          [t('jobs.took'), duration(result.took_ms)],
        ]}
      />
      {result.given_up.length > 0 && <PointIds ids={result.given_up} />}
      {result.kept.map((kept) => (
        <p key={kept.point} className="soft">
          <Link to={`/points/${kept.point}`} className="mono">{kept.point.slice(0, 12)}</Link>: {sentence(kept.why)}
        </p>
      ))}
      {result.left.map((left) => (
        <p key={left} className="soft">
          {sentence(left)}
        </p>
      ))}
    </div>
  );
}

function Forgotten({ result }: { result: ResultOf<'forget'> }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <p>{result.delete_after ? <>{t('kept.canUndo')} <When at={result.delete_after} exact /></> : t('kept.takenBack')}</p>
      <PointIds ids={result.points} />
    </div>
  );
}
