// All plans, and how they lie over the coming day.
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useMay } from '../app/session';
import { plans as plansQuery } from '../api/queries';
import { Load } from '../parts/Load';
import { PlanRows } from '../parts/PlanRows';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, Read } from '../parts/states';

export default function Plans() {
  const { t } = useTranslation();
  const plans = useQuery(plansQuery);
  const mayAdd = useMay('operate');
  const add = mayAdd && <Button component={Link} to="/plans/new">{t('plans.add')}</Button>;
  return (
    <Screen title={t('plans.title')} lead={t('plans.lead')} actions={add}>
      <Read query={plans}>
        {(all) => (
          <>
            <Sheet isFlush={all.length > 0}>{all.length === 0 ? <Empty title={t('plans.none')} action={add}>{t('plans.noneMore')}</Empty> : <PlanRows plans={all} />}</Sheet>
            {all.some((plan) => plan.when.cron && !plan.paused) && (
              <Sheet title={t('plans.load')}>
                <Load plans={all} />
              </Sheet>
            )}
          </>
        )}
      </Read>
    </Screen>
  );
}
