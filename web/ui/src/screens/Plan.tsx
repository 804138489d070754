// One plan: what it does, whether it keeps its promise, which points its rules keep, now and on a later day.
import { Button, SegmentedControl } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { api, ask, ifMatch } from '../api/client';
import { jobs as jobsQuery, plan as planQuery, retention as retentionQuery, type Plan } from '../api/queries';
import { useMay } from '../app/session';
import { promised } from '../logic/schedule';
import { duration, rounded } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Confirm } from '../parts/Confirm';
import { JobRows } from '../parts/JobRows';
import { useKeepWords } from '../parts/keepWords';
import { useRhythmWords } from '../parts/rhythmWords';
import { Rows } from '../parts/Rows';
import { Facts, Screen, Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { Empty, FailureNote, Read } from '../parts/states';
import { useNow, When } from '../parts/When';

export default function PlanScreen() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const found = useQuery(planQuery(id));
  return (
    <Screen
      title={found.data?.name ?? t('plans.plan')}
      lead={found.data && <Link to={`/machines/${found.data.agent_id}`}>{found.data.agent}</Link>}
      back={{ to: '/plans', text: t('plans.title') }}
      actions={found.data && <Actions plan={found.data} changed={() => void found.refetch()} />}
    >
      <Read query={found}>
        {(plan) => (
          <>
            <About plan={plan} />
            <div className="columns halves">
              <Kept plan={plan} />
              <Runs id={id} />
            </div>
          </>
        )}
      </Read>
    </Screen>
  );
}

function About({ plan }: { plan: Plan }) {
  const { t } = useTranslation();
  const now = useNow();
  const [when, keep] = [useRhythmWords(), useKeepWords()];
  const { kind, allowedMs } = promised(plan, now);
  const sources = plan.work.sources === 'all_disks' ? t('plan.allDisks') : plan.work.sources.paths.join(', ');
  return (
    <Sheet>
      <Facts
        items={[
          [t('plans.promise'), <State key="p" tone={kind === 'kept' ? 'good' : kind === 'late' ? 'bad' : 'none'}>{t(`machineState.${kind}`)}</State>],
          [t('plans.lastGood'), <When key="g" at={plan.last_good_at} />],
          [t('plan.allowed'), allowedMs === undefined ? '–' : duration(rounded(allowedMs))],
          [t('plans.next'), plan.paused ? t('plan.paused') : plan.next_run_at ? <When key="n" at={plan.next_run_at} exact /> : '–'],
          [t('plans.when'), when(plan.when.cron, plan.when.zone)],
          [t('plan.disks'), <span key="s" className="mono">{sources}</span>],
          [t('plan.keeps'), keep(plan.keep)],
          [t('plan.retries'), t('plan.retriesWords', { count: plan.retries.count })],
        ]}
      />
    </Sheet>
  );
}

function Actions({ plan, changed }: { plan: Plan; changed: () => void }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const may = useMay('operate');
  const [removes, setRemoves] = useState(false);
  const params = { params: { path: { id: plan.id } } };
  const run = useAct(async () => {
    const job = await ask(api.POST('/api/v1/plans/{id}/run', params));
    await go(`/jobs/${job.id}`);
  });
  const pause = useAct(async () => {
    await ask(plan.paused ? api.POST('/api/v1/plans/{id}/resume', params) : api.POST('/api/v1/plans/{id}/pause', params));
    changed();
  });
  if (!may) return null;
  const failure = run.failure ?? pause.failure;
  const path = `/api/v1/plans/${plan.id}`;
  return (
    <>
      {failure && <FailureNote failure={failure} />}
      <Button onClick={() => void run.run()} loading={run.isBusy}>
        {t('plan.run')}
      </Button>
      <Commands of={t('plan.run')} call={{ method: 'POST', path: `${path}/run` }} cli={typeof plan.work.sources === 'object' ? `icecore backup ${plan.work.sources.paths.join(' ')} --name ${plan.work.point_name ?? plan.name}` : undefined} />
      <Button variant="default" component={Link} to={`/plans/${plan.id}/edit`}>
        {t('plan.edit')}
      </Button>
      <Button variant="default" onClick={() => void pause.run()} loading={pause.isBusy}>
        {plan.paused ? t('plan.resume') : t('plan.pause')}
      </Button>
      <Button variant="default" onClick={() => setRemoves(true)}>
        {t('plan.remove')}
      </Button>
      {removes && (
        <Confirm
          title={t('plan.removeTitle', { name: plan.name })}
          action={t('plan.remove')}
          word={plan.name}
          close={() => setRemoves(false)}
          act={async () => {
            await ask(api.DELETE('/api/v1/plans/{id}', { ...params, headers: ifMatch(plan.revision) }));
            await go('/plans');
          }}
        >
          {t('plan.removeMore')}
        </Confirm>
      )}
    </>
  );
}

const DAY_MS = 86_400_000;
/** Points that are shown before somebody asks for more. */
const SHOWN = 20;

function Kept({ plan }: { plan: Plan }) {
  const { t } = useTranslation();
  const [days, setDays] = useState('0');
  // The time is fixed when it is chosen: a time that moves would be another question every second.
  const at = useMemo(() => (days === '0' ? undefined : new Date(Date.now() + Number(days) * DAY_MS).toISOString()), [days]);
  const decided = useQuery(retentionQuery(plan.id, at));
  const [most, setMost] = useState(SHOWN);
  return (
    <Sheet title={t('plan.points')} actions={<Link to={`/points?plan=${plan.id}`}>{t('points.all')}</Link>} isFlush>
      <div style={{ padding: '12px 18px 4px' }} className="stack tight">
        <SegmentedControl
          aria-label={t('plan.asOf')}
          size="xs"
          value={days}
          onChange={setDays}
          data={['0', '1', '7', '30', '365'].map((value) => ({ value, label: t(`plan.in${value}`) }))}
        />
        {days !== '0' && <p className="faint">{t('plan.asOfMore')}</p>}
      </div>
      <Read query={decided}>
        {(page) =>
          page.items.length === 0 ? (
            <div style={{ padding: '0 18px' }}>
              <Empty title={t('plan.noPoints')}>{t('plan.noPointsMore')}</Empty>
            </div>
          ) : (
            <Rows
              label={t('plan.points')}
              items={page.items.slice(0, most)}
              rowKey={(point) => point.point}
              columns={[
                {
                  name: t('plan.point'),
                  cell: (point) => (
                    <span>
                      <Link to={`/points/${point.point}`}>#{point.sequence}</Link> <span className="mono faint">{point.point.slice(0, 8)}</span>
                    </span>
                  ),
                },
                { name: t('plan.received'), isTight: true, cell: (point) => <When at={point.received_at} exact /> },
                { name: t('plan.fate'), isTight: true, cell: (point) => <State tone={point.keep ? 'good' : 'none'}>{point.keep ? t('plan.stays') : t('plan.goes')}</State> },
                { name: t('plan.why'), cell: (point) => <span className="faint">{point.reasons.join('; ')}</span> },
              ]}
            />
          )
        }
      </Read>
      {(decided.data?.items.length ?? 0) > most && (
        <div style={{ padding: '10px 18px 14px' }}>
          <Button size="xs" variant="default" onClick={() => setMost(most + 100)}>
            {t('jobs.more')}
          </Button>
        </div>
      )}
    </Sheet>
  );
}

function Runs({ id }: { id: string }) {
  const { t } = useTranslation();
  const jobs = useQuery(jobsQuery({ plan_id: id, limit: 20 }));
  return (
    <Sheet title={t('jobs.title')} isFlush>
      <Read query={jobs}>
        {(page) =>
          page.items.length === 0 ? (
            <div style={{ padding: '0 18px' }}>
              <Empty title={t('jobs.none')} />
            </div>
          ) : (
            <JobRows jobs={page.items} hidesMachine />
          )
        }
      </Read>
    </Sheet>
  );
}
