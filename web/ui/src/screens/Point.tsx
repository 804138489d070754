// One recovery point: what it is, what is proved of it, what can be done with it.
import { Button, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { api, ask } from '../api/client';
import { point as pointQuery, retention as retentionQuery, type RecoveryPoint } from '../api/queries';
import { useMay } from '../app/session';
import { pointState, short } from '../logic/pointState';
import { bytes } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Confirm } from '../parts/Confirm';
import { CopyLine } from '../parts/CopyLine';
import { Note } from '../parts/Note';
import { usePointName } from '../parts/PointLink';
import { PointStateWord } from '../parts/PointState';
import { Rows } from '../parts/Rows';
import { Facts, Screen, Sheet } from '../parts/Screen';
import { FailureNote, Read, sentence } from '../parts/states';
import { When } from '../parts/When';

export default function PointScreen() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const found = useQuery(pointQuery(id));
  const name = usePointName();
  const point = found.data;
  return (
    <Screen
      title={point ? name(point) : t('plan.point')}
      lead={
        point && (
          <span className="row tight">
            <PointStateWord point={point} />
            {point.agent_id ? <Link to={`/machines/${point.agent_id}`}>{point.agent}</Link> : point.host}
            <When at={point.made_at ?? point.received_at} exact />
          </span>
        )
      }
      back={{ to: '/points', text: t('points.title') }}
      actions={point && <Actions point={point} />}
    >
      <Read query={found}>
        {(point) => (
          <>
            <Warnings point={point} />
            <div className="columns two">
              <div className="stack wide">
                <About point={point} />
                <Disks point={point} />
              </div>
              <div className="stack wide">
                <Proof point={point} />
                <Fate point={point} />
                <ByHand point={point} />
              </div>
            </div>
          </>
        )}
      </Read>
    </Screen>
  );
}

function Warnings({ point }: { point: RecoveryPoint }) {
  const { t } = useTranslation();
  const state = pointState(point);
  return (
    <>
      {state === 'gone' && (
        <Note title={t('points.isGone')}>
          <p>
            {t('points.isGoneMore')} <When at={point.gone_at} exact />
          </p>
        </Note>
      )}
      {state === 'forgotten' && (
        <Note title={t('points.isForgotten')}>
          <p>
            {t('points.isForgottenMore')} <When at={point.delete_after} exact />
          </p>
        </Note>
      )}
      {point.flaw && (
        <Note title={t('points.isFlawed')} isUrgent>
          <p>
            {sentence(point.flaw)} {t('points.isFlawedMore')}
          </p>
        </Note>
      )}
      {point.suspect && (
        <Note title={t('points.isSuspect')}>
          <p>{t('points.isSuspectMore')}</p>
        </Note>
      )}
      {point.consistency === 'not_consistent' && (
        <Note title={t('consistency.not_consistent')}>
          <p>{t('points.notConsistentMore')}</p>
        </Note>
      )}
      {!point.name && state !== 'gone' && (
        <Note title={t('points.noKeeper')}>
          <p>
            {t('points.noKeeperMore')} <Link to="/repositories">{t('repositories.title')}</Link>
          </p>
        </Note>
      )}
    </>
  );
}

function About({ point }: { point: RecoveryPoint }) {
  const { t, i18n } = useTranslation();
  const size = (count: number | null | undefined) => (count === null || count === undefined ? '–' : bytes(count, i18n.language));
  return (
    <Sheet title={t('job.facts')}>
      <Facts
        items={[
          [t('points.made'), point.made_at ? <When key="m" at={point.made_at} exact /> : '–'],
          [t('plan.received'), <When key="r" at={point.received_at} exact />],
          [t('points.kind'), point.kind ? t(`pointKind.${point.kind}`, { defaultValue: point.kind }) : '–'],
          [t('points.consistency'), point.consistency ? t(`consistency.${point.consistency}`, { defaultValue: point.consistency }) : '–'],
          [t('points.size'), size(point.source_bytes)],
          [t('points.added'), size(point.stored_bytes)],
          [t('machines.repository'), <Link key="p" to="/repositories">{point.repository}</Link>],
          [t('plans.plan'), point.plan_id ? <Link key="l" to={`/plans/${point.plan_id}`}>{point.plan}</Link> : '–'],
          [t('jobs.job'), point.job_id ? <Link key="j" to={`/jobs/${point.job_id}`}>{t('points.itsJob')}</Link> : '–'],
          [t('points.series'), <Link key="s" to={`/points?series=${point.series}`}>{t('points.others')}</Link>],
        ]}
      />
      <div className="stack tight" style={{ marginTop: 14 }}>
        <p className="faint">{t('repositories.id')}</p>
        <CopyLine text={point.id} label={t('repositories.id')} />
      </div>
    </Sheet>
  );
}

function Disks({ point }: { point: RecoveryPoint }) {
  const { t, i18n } = useTranslation();
  if (point.disks.length === 0) return null;
  return (
    <Sheet title={t('plan.disks')} isFlush>
      <Rows
        label={t('plan.disks')}
        items={point.disks}
        rowKey={(disk) => disk.name}
        columns={[
          { name: t('machines.name'), cell: (disk) => <strong>{disk.name}</strong> },
          { name: t('points.readFrom'), cell: (disk) => <span className="mono">{disk.path}</span> },
          { name: t('points.size'), isNumber: true, cell: (disk) => bytes(disk.size_bytes, i18n.language) },
        ]}
      />
    </Sheet>
  );
}

/** When somebody with the key last found it whole, and how old the oldest part of that is. */
function Proof({ point }: { point: RecoveryPoint }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const may = useMay('operate');
  const body = { points: [point.id] };
  const path = `/api/v1/repositories/${point.repository}/verify`;
  const verify = useAct(async () => {
    const job = await ask(api.POST('/api/v1/repositories/{repository}/verify', { params: { path: { repository: point.repository } }, body }));
    await go(`/jobs/${job.id}`);
  });
  return (
    <Sheet title={t('points.proof')}>
      <div className="stack">
        <p className="soft">{point.proved_since ? t('points.provedMore') : point.flaw ? t('points.flawedMore') : t('points.unprovedMore')}</p>
        <Facts items={[[t('points.verified'), <When key="v" at={point.verified_at} exact />], [t('points.provedSince'), <When key="p" at={point.proved_since} exact />]]} />
        {verify.failure && <FailureNote failure={verify.failure} />}
        {!point.gone_at && (
          <div className="row">
            {may && (
              <Button variant="default" onClick={() => void verify.run()} loading={verify.isBusy}>
                {t('points.verify')}
              </Button>
            )}
            <Commands of={t('points.verify')} cli={`icecore check --read-data`} call={{ method: 'POST', path, body }} />
          </div>
        )}
      </div>
    </Sheet>
  );
}

/** What the plan's rules say of it. */
function Fate({ point }: { point: RecoveryPoint }) {
  const { t } = useTranslation();
  const decided = useQuery({ ...retentionQuery(point.plan_id ?? '', undefined), enabled: Boolean(point.plan_id) });
  const decision = decided.data?.items.find((one) => one.point === point.id);
  if (!decision) return null;
  return (
    <Sheet title={t('plan.fate')}>
      <p>
        <strong>{decision.keep ? t('plan.stays') : t('plan.goes')}</strong>
      </p>
      <ul>
        {decision.reasons.map((reason) => (
          <li key={reason} className="soft">
            {sentence(reason)}
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

function ByHand({ point }: { point: RecoveryPoint }) {
  const { t } = useTranslation();
  if (point.gone_at) return null;
  const id = short(point.id);
  return (
    <Sheet title={t('points.byHand')}>
      <div className="stack tight">
        <p className="faint">{t('points.byHandMore')}</p>
        <CopyLine text={`icecore ls ${id}\nicecore restore ${id} --to /dev/sdX\nicecore mount ${id} /mnt/point`} />
      </div>
    </Sheet>
  );
}

function Actions({ point }: { point: RecoveryPoint }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const [mayOperate, mayRestore] = [useMay('operate'), useMay('restore')];
  const [gives, setGives] = useState(false);
  const path = `/api/v1/recovery-points/${point.id}`;
  const id = short(point.id);
  const undo = useAct(async () => {
    const job = await ask(api.POST('/api/v1/recovery-points/{id}/undo', { params: { path: { id: point.id } } }));
    await go(`/jobs/${job.id}`);
  });
  if (point.gone_at) return <Commands of={t('plan.point')} call={{ method: 'GET', path }} />;
  const isForgotten = Boolean(point.forgotten_at);
  return (
    <>
      {undo.failure && <FailureNote failure={undo.failure} />}
      {mayRestore && (
        <Button component={Link} to={`/restore?point=${point.id}`}>
          {t('points.restore')}
        </Button>
      )}
      {mayRestore && (
        <Button variant="default" component={Link} to={`/points/${point.id}/files`}>
          {t('files.title')}
        </Button>
      )}
      {mayOperate && isForgotten && (
        <Button variant="default" onClick={() => void undo.run()} loading={undo.isBusy}>
          {t('points.undo')}
        </Button>
      )}
      {mayOperate && !isForgotten && (
        <Button variant="default" onClick={() => setGives(true)}>
          {t('points.forget')}
        </Button>
      )}
      {isForgotten ? <Commands of={t('points.undo')} cli={`icecore undo ${id}`} call={{ method: 'POST', path: `${path}/undo` }} /> : <Commands of={t('points.forget')} cli={`icecore forget ${id}`} call={{ method: 'POST', path: `${path}/forget`, body: {} }} />}
      {gives && <GiveUp point={point} close={() => setGives(false)} />}
    </>
  );
}

function GiveUp({ point, close }: { point: RecoveryPoint; close: () => void }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const name = usePointName();
  const [reason, setReason] = useState('');
  const give = async () => {
    const job = await ask(api.POST('/api/v1/recovery-points/{id}/forget', { params: { path: { id: point.id } }, body: { reason: reason.trim() } }));
    await go(`/jobs/${job.id}`);
  };
  return (
    <Confirm title={t('points.forgetTitle', { name: name(point) })} action={t('points.forget')} close={close} act={give}>
      <div className="stack">
        <p>{t('points.forgetMore')}</p>
        <TextInput label={t('points.reason')} value={reason} onChange={(event) => setReason(event.currentTarget.value)} maxLength={200} data-autofocus />
      </div>
    </Confirm>
  );
}
