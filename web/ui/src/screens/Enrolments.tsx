// Enrolments that are open or were used, and the server's own authority by which machines recognise it.
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { api, ask } from '../api/client';
import { authority as authorityQuery, enrolments as enrolmentsQuery } from '../api/queries';
import { useAct } from '../parts/act';
import { CopyLine } from '../parts/CopyLine';
import { Rows } from '../parts/Rows';
import { Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { Empty, FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';

export function Enrolments() {
  const { t } = useTranslation();
  const enrolments = useQuery(enrolmentsQuery);
  const authority = useQuery(authorityQuery);
  const revoke = useAct(async (id: string) => {
    await ask(api.DELETE('/api/v1/enrolments/{id}', { params: { path: { id } } }));
    await enrolments.refetch();
  });
  return (
    <div className="stack">
      <Sheet title={t('enrolments.title')} isFlush actions={<Button size="xs" component={Link} to="/machines/enrol">{t('machines.add')}</Button>}>
        {revoke.failure && <FailureNote failure={revoke.failure} />}
        <Read query={enrolments}>
          {(all) =>
            all.length === 0 ? (
              <div style={{ padding: '0 18px' }}>
                <Empty title={t('enrolments.none')} />
              </div>
            ) : (
              <Rows
                label={t('enrolments.title')}
                items={[...all].reverse()}
                rowKey={(one) => one.id}
                columns={[
                  { name: t('enrolments.machine'), cell: (one) => one.agent ? <Link to={`/machines/${one.agent.id}`}>{one.agent.name}</Link> : (one.name ?? t('enrolments.anyName')) },
                  { name: t('machines.state'), isTight: true, cell: (one) => <State tone={one.state === 'done' ? 'good' : one.state === 'waiting' ? 'late' : 'none'}>{t(`enrolments.${one.state}`)}</State> },
                  { name: t('machines.repository'), cell: (one) => one.repository },
                  { name: t('enrolments.by'), cell: (one) => one.created_by },
                  { name: t('enrolments.until'), cell: (one) => <When at={one.expires_at} exact /> },
                  {
                    name: t('people.actions'),
                    isNumber: true,
                    cell: (one) =>
                      (one.state === 'open' || one.state === 'waiting') && (
                        <Button size="compact-xs" variant="default" onClick={() => void revoke.run(one.id)}>
                          {t('enrolments.revoke')}
                        </Button>
                      ),
                  },
                ]}
              />
            )
          }
        </Read>
      </Sheet>
      {authority.data && (
        <Sheet title={t('enrolments.authority')}>
          <div className="stack tight">
            <p className="soft">{t('enrolments.authorityMore')}</p>
            <CopyLine text={authority.data.fingerprint} label={t('enrolments.authority')} />
          </div>
        </Sheet>
      )}
    </div>
  );
}
