// Plans as a list.
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { Plan } from '../api/queries';
import { promised } from '../logic/schedule';
import { useRhythmWords } from './rhythmWords';
import { Rows } from './Rows';
import { JobStateWord, State } from './State';
import { useNow, When } from './When';

export function PlanRows({ plans, isShort }: { plans: Plan[]; isShort?: boolean }) {
  const { t } = useTranslation();
  const now = useNow();
  const words = useRhythmWords();
  return (
    <Rows
      label={t('plans.title')}
      items={plans}
      rowKey={(plan) => plan.id}
      columns={[
        { name: t('plans.plan'), cell: (plan) => <Link to={`/plans/${plan.id}`}>{plan.name}</Link> },
        ...(isShort ? [] : [{ name: t('machines.machine'), cell: (plan: Plan) => <Link to={`/machines/${plan.agent_id}`}>{plan.agent}</Link> }]),
        { name: t('plans.when'), cell: (plan) => words(plan.when.cron, plan.when.zone) },
        {
          name: t('plans.promise'),
          isTight: true,
          cell: (plan) => {
            const { kind } = promised(plan, now);
            return <State tone={kind === 'kept' ? 'good' : kind === 'late' ? 'bad' : kind === 'waiting' ? 'late' : 'none'}>{t(`machineState.${kind}`)}</State>;
          },
        },
        { name: t('plans.lastGood'), cell: (plan) => <When at={plan.last_good_at} /> },
        ...(isShort
          ? []
          : [
              { name: t('plans.lastJob'), isTight: true, cell: (plan: Plan) => plan.last_job ? <Link to={`/jobs/${plan.last_job.id}`}><JobStateWord state={plan.last_job.state} /></Link> : '–' },
              { name: t('plans.next'), cell: (plan: Plan) => (plan.next_run_at ? <When at={plan.next_run_at} /> : '–') },
            ]),
      ]}
    />
  );
}
