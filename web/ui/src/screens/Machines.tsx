// All machines that store here.
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useMay } from '../app/session';
import { agents as agentsQuery, plans as plansQuery } from '../api/queries';
import { machineVerdict } from '../logic/verdict';
import { Rows } from '../parts/Rows';
import { Screen, Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { Empty, Read } from '../parts/states';
import { useNow, When } from '../parts/When';

export default function Machines() {
  const { t } = useTranslation();
  const [agents, plans] = [useQuery(agentsQuery), useQuery(plansQuery)];
  const mayAdd = useMay('agents');
  const now = useNow();
  const add = mayAdd && <Button component={Link} to="/machines/enrol">{t('machines.add')}</Button>;
  return (
    <Screen title={t('machines.title')} lead={t('machines.lead')} actions={add}>
      <Sheet isFlush>
        <Read query={agents}>
          {(all) =>
            all.length === 0 ? (
              <div style={{ padding: '0 18px' }}>
                <Empty title={t('machines.none')} action={add}>
                  {t('machines.noneMore')}
                </Empty>
              </div>
            ) : (
              <Rows
                label={t('machines.title')}
                items={[...all].sort((a, b) => Number(Boolean(a.revoked_at)) - Number(Boolean(b.revoked_at)) || a.name.localeCompare(b.name)).map((agent) => machineVerdict(agent, plans.data ?? [], now))}
                rowKey={(machine) => machine.agent.id}
                columns={[
                  { name: t('machines.name'), cell: ({ agent }) => <Link to={`/machines/${agent.id}`}>{agent.name}</Link> },
                  {
                    name: t('machines.state'),
                    isTight: true,
                    cell: ({ agent, state }) =>
                      agent.revoked_at ? (
                        <State tone="none">{t('machines.revoked')}</State>
                      ) : (
                        <State tone={state === 'late' ? 'bad' : state === 'kept' ? 'good' : state === 'waiting' || state === 'unplanned' ? 'late' : 'none'}>{t(`machineState.${state}`)}</State>
                      ),
                  },
                  { name: t('machines.lastGood'), cell: ({ lastGoodAt }) => <When at={lastGoodAt} /> },
                  { name: t('machines.plans'), isNumber: true, cell: ({ plans: own }) => own.length },
                  { name: t('machines.repository'), cell: ({ agent }) => agent.repository },
                  { name: t('machines.seen'), cell: ({ agent }) => <When at={agent.last_seen_at} /> },
                ]}
              />
            )
          }
        </Read>
      </Sheet>
    </Screen>
  );
}
