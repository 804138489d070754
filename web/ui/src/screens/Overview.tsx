// Can everything be restored? One sentence, then each machine's last thirty days, what runs, and what is missing.
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useMay } from '../app/session';
import { agents as agentsQuery, alerts, days as daysQuery, jobs, plans as plansQuery, repositories, type Agent, type Plan } from '../api/queries';
import { layers } from '../logic/strip';
import { duration, rounded } from '../logic/units';
import { isBackedUp, machineVerdict, verdict, type MachineVerdict } from '../logic/verdict';
import { AlertList } from '../parts/AlertList';
import { JobLine } from '../parts/JobLine';
import { NewestPoints } from '../parts/NewestPoints';
import { Screen, Sheet } from '../parts/Screen';
import { State, type Tone } from '../parts/State';
import { Empty, Read } from '../parts/states';
import { Strip, StripLegend } from '../parts/Strip';
import { useNow, When } from '../parts/When';
import { FirstSteps, useFirstSteps } from './FirstSteps';
import classes from './Overview.module.css';

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
const TONES: Record<MachineVerdict<Agent, Plan>['state'], Tone> = {
  kept: 'good', late: 'bad', waiting: 'late', paused: 'none', unplanned: 'late', keeper: 'none', none: 'none',
};

export default function Overview() {
  const { t } = useTranslation();
  const now = useNow();
  const [agents, plans, kept] = [useQuery(agentsQuery), useQuery(plansQuery), useQuery(repositories)];
  const lasting = useQuery(alerts(true));
  const running = useQuery(jobs({ state: 'running', limit: 10 }));
  const steps = useFirstSteps();
  const machines = (agents.data ?? [])
    .filter((agent) => !agent.revoked_at)
    .map((agent) => machineVerdict(agent, plans.data ?? [], now))
    .filter(isBackedUp);
  const kits = (kept.data ?? []).filter((repository) => !repository.kit_confirmed_at);
  const isKnown = agents.data && plans.data && kept.data;
  const told = verdict(machines, kits.length);
  const alertCount = lasting.data?.items.length ?? 0;
  return (
    <Screen title={t('overview.title')}>
      {isKnown && <Headline told={told} kits={kits.map((repository) => repository.name)} />}
      {steps.isOpen && <FirstSteps steps={steps} />}
      <div className="columns two">
        <Sheet title={t('overview.machines')} actions={<StripLegend />}>
          <Read query={agents}>{() => <Fleet machines={machines} />}</Read>
        </Sheet>
        <div className="stack">
          {alertCount > 0 && lasting.data && (
            <Sheet title={t('overview.alerts')} actions={<Link to="/alerts">{t('overview.allAlerts')}</Link>} isFlush>
              <AlertList items={lasting.data.items.slice(0, 5)} />
            </Sheet>
          )}
          <Sheet title={t('overview.running')} actions={<Link to="/jobs">{t('overview.allJobs')}</Link>}>
            <Read query={running} lines={2}>
              {(page) =>
                page.items.length === 0 ? (
                  <p className="soft">{t('overview.nothingRuns')}</p>
                ) : (
                  <ul className="stack tight">
                    {page.items.map((job) => (
                      <li key={job.id}>
                        <JobLine job={job} />
                      </li>
                    ))}
                  </ul>
                )
              }
            </Read>
          </Sheet>
          <NewestPoints filter={{}} all="/points" />
          <NextRuns plans={plans.data ?? []} />
        </div>
      </div>
    </Screen>
  );
}

function Headline({ told, kits }: { told: ReturnType<typeof verdict>; kits: string[] }) {
  const { t } = useTranslation();
  const sentences = [
    told.unplanned > 0 && t('verdict.unplanned', { count: told.unplanned }),
    told.waiting > 0 && t('verdict.waiting', { count: told.waiting }),
  ].filter((text): text is string => Boolean(text));
  const title =
    told.tone === 'none' ? t('verdict.none') : told.late > 0 ? t('verdict.bad', { count: told.late, all: told.all }) : told.tone === 'good' ? t('verdict.good', { count: told.all }) : kits.length > 0 ? t('verdict.kits') : t('verdict.almost');
  return (
    <section className={classes.headline} data-tone={told.tone} aria-label={t('overview.verdict')}>
      <span className={classes.core} aria-hidden="true" />
      <div className="grow">
        <p className={classes.title}>{title}</p>
        <p className="soft">{sentences.length > 0 ? sentences.join(' ') : told.tone === 'good' ? t('verdict.goodMore') : told.tone === 'none' ? t('verdict.noneMore') : ''}</p>
        {kits.length > 0 && (
          <p className={classes.kit}>
            {t('verdict.kit', { count: kits.length, names: kits.join(', ') })} <Link to="/repositories">{t('verdict.kitNext')}</Link>
          </p>
        )}
      </div>
    </section>
  );
}

function Fleet({ machines }: { machines: MachineVerdict<Agent, Plan>[] }) {
  const { t } = useTranslation();
  const days = useQuery(daysQuery(ZONE));
  const mayAdd = useMay('agents');
  if (machines.length === 0) {
    return (
      <Empty title={t('machines.none')} action={mayAdd && <Button component={Link} to="/machines/enrol">{t('machines.add')}</Button>}>
        {t('machines.noneMore')}
      </Empty>
    );
  }
  return (
    <ul className={classes.fleet}>
      {machines.map((machine) => (
        <li key={machine.agent.id} className={classes.machine}>
          <div className={classes.name}>
            <Link to={`/machines/${machine.agent.id}`}>{machine.agent.name}</Link>
            <State tone={TONES[machine.state]}>{t(`machineState.${machine.state}`)}</State>
          </div>
          <div className={classes.age}>
            <When at={machine.lastGoodAt} />
            <Allowed machine={machine} />
          </div>
          <div className={classes.strip}>
            {days.data ? (
              <Strip layers={layers(days.data.days, days.data.items, machine.agent)} label={machine.agent.name} />
            ) : (
              <span className={classes.stripSpace} />
            )}
          </div>
        </li>
      ))}
    </ul>
  );
}

/** What the plans of a machine promise: the shortest allowed age. */
function Allowed({ machine }: { machine: MachineVerdict<Agent, Plan> }) {
  const { t } = useTranslation();
  const allowed = machine.plans.map((one) => one.promised.allowedMs).filter((ms): ms is number => ms !== undefined);
  if (allowed.length === 0) return null;
  return <span className="faint">{t('overview.allowed', { age: duration(rounded(Math.min(...allowed))) })}</span>;
}

function NextRuns({ plans }: { plans: Plan[] }) {
  const { t } = useTranslation();
  const next = plans
    .filter((plan) => plan.next_run_at)
    .sort((a, b) => (a.next_run_at ?? '').localeCompare(b.next_run_at ?? ''))
    .slice(0, 5);
  if (next.length === 0) return null;
  return (
    <Sheet title={t('overview.next')}>
      <ul className="stack tight">
        {next.map((plan) => (
          <li key={plan.id} className="row apart tight">
            <Link to={`/plans/${plan.id}`}>{plan.name}</Link>
            <When at={plan.next_run_at} />
          </li>
        ))}
      </ul>
    </Sheet>
  );
}
