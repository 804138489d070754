// The way from an empty server to a first backup, as a list that knows by itself what is done.
import { Button } from '@mantine/core';
import { IconCheck } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useMay } from '../app/session';
import { agents, jobs, plans, repositories } from '../api/queries';
import classes from './FirstSteps.module.css';

interface Step {
  name: 'repository' | 'kit' | 'machine' | 'plan' | 'backup';
  isDone: boolean;
  to: string;
}

export interface Steps {
  steps: Step[];
  isOpen: boolean;
}

export function useFirstSteps(): Steps {
  const [kept, machines, made] = [useQuery(repositories), useQuery(agents), useQuery(plans)];
  const good = useQuery(jobs({ state: 'succeeded', limit: 1 }));
  const isAdmin = useMay('agents');
  const isKnown = kept.data && machines.data && made.data && good.data;
  const running = made.data?.find((plan) => plan.last_job && !['succeeded', 'failed', 'cancelled'].includes(plan.last_job.state));
  const first = made.data?.[0];
  const steps: Step[] = [
    { name: 'repository', isDone: Boolean(kept.data?.length), to: '/repositories?add' },
    { name: 'machine', isDone: Boolean(machines.data?.some((agent) => !agent.revoked_at)), to: '/machines/enrol' },
    { name: 'plan', isDone: Boolean(made.data?.length), to: '/plans/new' },
    { name: 'kit', isDone: Boolean(kept.data?.length) && Boolean(kept.data?.every((repository) => repository.kit_confirmed_at)), to: '/repositories' },
    { name: 'backup', isDone: Boolean(good.data?.items.length), to: running?.last_job ? `/jobs/${running.last_job.id}` : first ? `/plans/${first.id}` : '/plans' },
  ];
  return { steps, isOpen: isAdmin && Boolean(isKnown) && steps.some((step) => !step.isDone) };
}

export function FirstSteps({ steps: { steps } }: { steps: Steps }) {
  const { t } = useTranslation();
  const next = steps.findIndex((step) => !step.isDone);
  return (
    <section className={classes.steps} aria-label={t('steps.title')}>
      <h2 className={classes.title}>{t('steps.title')}</h2>
      <ol>
        {steps.map((step, at) => (
          <li key={step.name} className={classes.step} data-done={step.isDone || undefined} data-next={at === next || undefined}>
            <span className={classes.number} aria-hidden="true">
              {step.isDone ? <IconCheck size={15} stroke={2.4} /> : at + 1}
            </span>
            <div className="grow">
              <p className={classes.name}>
                {t(`steps.${step.name}`)} {step.isDone && <span className="hidden">{t('steps.done')}</span>}
              </p>
              {at === next && <p className="soft small">{t(`steps.${step.name}More`)}</p>}
            </div>
            {!step.isDone && (
              <Button component={Link} to={step.to} size="xs" variant={at === next ? 'filled' : 'default'}>
                {t(`steps.${step.name}Do`)}
              </Button>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
