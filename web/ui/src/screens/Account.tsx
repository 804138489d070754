// One's own account: password, authenticator, where one is logged in, tokens for scripts.
import { Button, PasswordInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask } from '../api/client';
import { sessions as sessionsQuery } from '../api/queries';
import { useSession } from '../app/session';
import { SHORTEST } from '../logic/password';
import { useAct } from '../parts/act';
import { Rows } from '../parts/Rows';
import { Screen, Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';
import { Authenticator } from './Authenticator';
import { Tokens } from './Tokens';

export default function Account() {
  const { t } = useTranslation();
  const session = useSession();
  return (
    <Screen title={t('account.title')} lead={t('account.lead', { name: session.name, role: t(`role.${session.role}`) })}>
      <div className="columns halves">
        <Password />
        <Authenticator />
      </div>
      <Tokens />
      <Sessions />
    </Screen>
  );
}

function Password() {
  const { t } = useTranslation();
  const [current, setCurrent] = useState('');
  const [fresh, setFresh] = useState('');
  const change = useAct(async () => {
    await ask(api.POST('/api/v1/account/password', { body: { current_password: current, new_password: fresh } }));
    setCurrent('');
    setFresh('');
  }, t('account.passwordChanged'));
  const eye = { 'aria-label': t('logIn.showPassword') };
  return (
    <Sheet title={t('account.password')}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void change.run();
        }}
      >
        <PasswordInput label={t('account.current')} value={current} onChange={(event) => setCurrent(event.currentTarget.value)} autoComplete="current-password" required visibilityToggleButtonProps={eye} />
        <PasswordInput label={t('account.fresh')} description={t('link.passwordMore', { count: SHORTEST })} value={fresh} onChange={(event) => setFresh(event.currentTarget.value)} autoComplete="new-password" minLength={SHORTEST} required visibilityToggleButtonProps={eye} />
        {change.failure && <FailureNote failure={change.failure} />}
        <div>
          <Button type="submit" loading={change.isBusy}>
            {t('account.change')}
          </Button>
        </div>
      </form>
    </Sheet>
  );
}

function Sessions() {
  const { t } = useTranslation();
  const sessions = useQuery(sessionsQuery);
  const end = useAct(async (id: string) => {
    await ask(api.DELETE('/api/v1/sessions/{id}', { params: { path: { id } } }));
    await sessions.refetch();
  });
  return (
    <Sheet title={t('account.sessions')} isFlush>
      {end.failure && <FailureNote failure={end.failure} />}
      <Read query={sessions}>
        {(page) => (
          <Rows
            label={t('account.sessions')}
            items={page.items}
            rowKey={(one) => one.id}
            columns={[
              { name: t('account.browser'), cell: (one) => <span className="small">{one.user_agent || '–'}</span> },
              { name: t('account.address'), cell: (one) => <span className="mono">{one.address}</span> },
              { name: t('account.since'), isTight: true, cell: (one) => <When at={one.created_at} /> },
              { name: t('account.seen'), isTight: true, cell: (one) => <When at={one.last_seen_at} /> },
              {
                name: t('people.actions'),
                isNumber: true,
                cell: (one) =>
                  one.current ? (
                    <State tone="good">{t('account.here')}</State>
                  ) : (
                    <Button size="compact-xs" variant="default" onClick={() => void end.run(one.id)}>
                      {t('account.end')}
                    </Button>
                  ),
              },
            ]}
          />
        )}
      </Read>
    </Sheet>
  );
}
