// One machine: what it has, what is backed up of it and when, and what came of it.
import { Button, NumberInput, Modal } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';
import { api, ask, ifMatch } from '../api/client';
import { madePoint, saysWhereItChanged } from '../api/jobResult';
import { agent as agentQuery, days as daysQuery, devices as devicesQuery, jobs as jobsQuery, plans as plansQuery, type Agent } from '../api/queries';
import { useMay } from '../app/session';
import { layers } from '../logic/strip';
import { bytes } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Confirm } from '../parts/Confirm';
import { DiskMap } from '../parts/DiskMap';
import { JobRows } from '../parts/JobRows';
import { NewestPoints } from '../parts/NewestPoints';
import { PlanRows } from '../parts/PlanRows';
import { Facts, Screen, Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { Empty, FailureNote, Loading, Read } from '../parts/states';
import { Strip, StripLegend } from '../parts/Strip';
import { When } from '../parts/When';
import { ZONE } from './Overview';

const ChangeMap = lazy(() => import('../parts/ChangeMap'));
const Growth = lazy(() => import('../parts/Growth'));

export default function Machine() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const found = useQuery(agentQuery(id));
  const plans = useQuery(plansQuery);
  const mayPlan = useMay('operate');
  const own = plans.data?.filter((plan) => plan.agent_id === id) ?? [];
  const name = found.data?.name ?? t('machines.machine');
  return (
    <Screen
      title={name}
      back={{ to: '/machines', text: t('machines.title') }}
      actions={
        <>
          {mayPlan && found.data && !found.data.revoked_at && (
            <Button component={Link} to={`/plans/new?machine=${id}`}>
              {t('plans.add')}
            </Button>
          )}
          {found.data && <Manage agent={found.data} changed={() => void found.refetch()} />}
        </>
      }
    >
      <Read query={found}>
        {(agent) => (
          <>
            {agent.revoked_at && (
              <p>
                <State tone="none">{t('machines.revoked')}</State> <When at={agent.revoked_at} exact />
              </p>
            )}
            <About agent={agent} />
            <div className="columns two">
              <div className="stack wide">
                <Disks id={id} />
                <History id={id} />
              </div>
              <div className="stack wide">
                <Sheet title={t('plans.title')} isFlush={own.length > 0}>
                  {own.length === 0 ? <Empty title={t('plans.noneHere')}>{t('plans.noneHereMore')}</Empty> : <PlanRows plans={own} isShort />}
                </Sheet>
                <NewestPoints filter={{ agent_id: id }} all={`/points?machine=${id}`} />
              </div>
            </div>
          </>
        )}
      </Read>
    </Screen>
  );
}

function About({ agent }: { agent: Agent }) {
  const { t, i18n } = useTranslation();
  const machine = useQuery(devicesQuery(agent.id));
  const days = useQuery(daysQuery(ZONE, 90));
  return (
    <Sheet>
      <div className="stack">
        <Facts
          items={[
            [t('machines.host'), machine.data?.host ?? '–'],
            [t('machines.heard'), <When key="h" at={machine.data?.heard_at ?? agent.last_seen_at} />],
            [t('machines.version'), machine.data?.version ?? '–'],
            [t('machines.repository'), agent.repository],
            [t('machines.limit'), agent.limit_bytes_per_s ? `${bytes(agent.limit_bytes_per_s, i18n.language)}/s` : t('machines.noLimit')],
            [t('machines.quota'), agent.quota_bytes ? bytes(agent.quota_bytes, i18n.language) : t('machines.noQuota')],
          ]}
        />
        {days.data && (
          <div className="stack tight">
            <div className="row apart">
              <span className="faint">{t('machines.days', { count: days.data.days.length })}</span>
              <StripLegend />
            </div>
            <Strip layers={layers(days.data.days, days.data.items, agent)} label={agent.name} />
          </div>
        )}
      </div>
    </Sheet>
  );
}

function Disks({ id }: { id: string }) {
  const { t } = useTranslation();
  const machine = useQuery(devicesQuery(id));
  return (
    <Sheet title={t('machines.disks')} actions={machine.data?.reported_at && <span className="faint">{t('machines.reported')} <When at={machine.data.reported_at} /></span>}>
      <Read query={machine}>
        {(list) =>
          list.devices.length === 0 ? <Empty title={t('machines.noDisks')}>{t('machines.noDisksMore')}</Empty> : <DiskMap devices={list.devices} />
        }
      </Read>
    </Sheet>
  );
}

function History({ id }: { id: string }) {
  const { t } = useTranslation();
  const jobs = useQuery(jobsQuery({ agent_id: id, limit: 200 }));
  return (
    <Read query={jobs}>
      {(page) => {
        const good = page.items.filter(madePoint);
        return (
          <>
            {good.length > 1 && (
              <Sheet title={t('machines.growth')}>
                <Suspense fallback={<Loading />}>
                  <Growth jobs={good} />
                </Suspense>
              </Sheet>
            )}
            {good.some(saysWhereItChanged) && (
              <Sheet title={t('changeMap.title')}>
                <Suspense fallback={<Loading />}>
                  <ChangeMap jobs={good} />
                </Suspense>
              </Sheet>
            )}
            <Sheet title={t('machines.jobs')} actions={<Link to={`/jobs?machine=${id}`}>{t('overview.allJobs')}</Link>} isFlush={page.items.length > 0}>
              {page.items.length === 0 ? <Empty title={t('jobs.none')} /> : <JobRows jobs={page.items.slice(0, 12)} hidesMachine />}
            </Sheet>
          </>
        );
      }}
    </Read>
  );
}

function Manage({ agent, changed }: { agent: Agent; changed: () => void }) {
  const { t } = useTranslation();
  const may = useMay('agents');
  const [shown, show] = useState<'limits' | 'revoke'>();
  if (!may || agent.revoked_at) return null;
  const path = `/api/v1/agents/${agent.id}`;
  return (
    <>
      <Button variant="default" onClick={() => show('limits')}>
        {t('machines.limits')}
      </Button>
      <Button variant="default" onClick={() => show('revoke')}>
        {t('machines.revoke')}
      </Button>
      <Commands of={t('machines.revoke')} call={{ method: 'POST', path: `${path}/revoke` }} />
      {shown === 'limits' && (
        <Limits
          agent={agent}
          close={() => {
            show(undefined);
            changed();
          }}
        />
      )}
      {shown === 'revoke' && (
        <Confirm
          title={t('machines.revokeTitle', { name: agent.name })}
          action={t('machines.revoke')}
          word={agent.name}
          close={() => show(undefined)}
          act={async () => {
            await ask(api.POST('/api/v1/agents/{id}/revoke', { params: { path: { id: agent.id } } }));
            changed();
          }}
        >
          {t('machines.revokeMore')}
        </Confirm>
      )}
    </>
  );
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;

function Limits({ agent, close }: { agent: Agent; close: () => void }) {
  const { t } = useTranslation();
  const [limit, setLimit] = useState<number | string>(agent.limit_bytes_per_s ? agent.limit_bytes_per_s / MIB : '');
  const [quota, setQuota] = useState<number | string>(agent.quota_bytes ? agent.quota_bytes / GIB : '');
  const body = { limit_bytes_per_s: Math.round(Number(limit || 0) * MIB), quota_bytes: Math.round(Number(quota || 0) * GIB) };
  const save = useAct(
    () => ask(api.PATCH('/api/v1/agents/{id}', { params: { path: { id: agent.id } }, headers: ifMatch(agent.revision), body })),
    t('state.saved'),
  );
  return (
    <Modal opened onClose={close} title={t('machines.limitsTitle', { name: agent.name })} closeButtonProps={{ 'aria-label': t('state.close') }}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void save.run().then((done) => done && close());
        }}
      >
        <NumberInput label={t('machines.limit')} description={t('machines.limitMore')} suffix=" MiB/s" value={limit} onChange={setLimit} min={0.25} decimalScale={2} allowNegative={false} />
        <NumberInput label={t('machines.quota')} description={t('machines.quotaMore')} suffix=" GiB" value={quota} onChange={setQuota} min={1} allowNegative={false} />
        {save.failure && <FailureNote failure={save.failure} />}
        <div className="row">
          <Button type="submit" loading={save.isBusy}>
            {t('state.save')}
          </Button>
          <Commands of={t('machines.limits')} call={{ method: 'PATCH', path: `/api/v1/agents/${agent.id}`, body, ifMatch: agent.revision }} />
        </div>
      </form>
    </Modal>
  );
}
