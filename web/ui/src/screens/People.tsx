// Accounts: made with a one-time link, given a role, shut, removed.
import { Button, Menu, Modal, Select, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask, ifMatch, type Schemas } from '../api/client';
import { asFailure, type Failure } from '../api/failure';
import { users as usersQuery, type Role, type User } from '../api/queries';
import { useSession } from '../app/session';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Confirm } from '../parts/Confirm';
import { CopyLine } from '../parts/CopyLine';
import { Rows } from '../parts/Rows';
import { Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';

const ROLES: Role[] = ['viewer', 'operator', 'restorer', 'admin'];

export function People() {
  const { t } = useTranslation();
  const users = useQuery(usersQuery);
  const [adds, setAdds] = useState(false);
  const [link, setLink] = useState<Schemas['NewLogInLink']>();
  const [removes, setRemoves] = useState<User>();
  const [failure, setFailure] = useState<Failure>();
  const again = () => void users.refetch();
  async function act(deed: () => Promise<unknown>) {
    setFailure(undefined);
    try {
      await deed();
      again();
    } catch (error) {
      setFailure(asFailure(error));
    }
  }
  return (
    <Sheet title={t('people.title')} isFlush actions={<Button size="xs" onClick={() => setAdds(true)}>{t('people.add')}</Button>}>
      {failure && <FailureNote failure={failure} />}
      <Read query={users}>
        {(all) => (
          <Rows
            label={t('people.title')}
            items={all}
            rowKey={(user) => user.id}
            columns={[
              { name: t('logIn.name'), cell: (user) => <strong>{user.name}</strong> },
              { name: t('people.role'), cell: (user) => t(`role.${user.role}`) },
              {
                name: t('machines.state'),
                isTight: true,
                cell: (user) =>
                  user.disabled ? <State tone="bad">{t('people.shut')}</State> : user.has_password ? <State tone="good">{t('people.active')}</State> : <State tone="late">{t('people.invited')}</State>,
              },
              { name: t('people.totp'), isTight: true, cell: (user) => (user.has_totp ? t('people.yes') : t('people.no')) },
              { name: t('people.lastLogIn'), cell: (user) => <When at={user.last_log_in_at} /> },
              { name: t('people.actions'), isNumber: true, cell: (user) => <Actions user={user} act={act} showLink={setLink} remove={() => setRemoves(user)} /> },
            ]}
          />
        )}
      </Read>
      {adds && (
        <Add
          close={() => setAdds(false)}
          made={(made) => {
            setAdds(false);
            setLink(made.log_in_link ?? undefined);
            again();
          }}
        />
      )}
      {link && (
        <Modal opened onClose={() => setLink(undefined)} title={t('people.linkTitle')} closeButtonProps={{ 'aria-label': t('state.close') }}>
          <div className="stack">
            <p>{t('people.linkMore')}</p>
            <CopyLine text={link.url} label={t('people.linkTitle')} />
            <p className="faint">
              {t('enrol.until')} <When at={link.expires_at} exact />
            </p>
          </div>
        </Modal>
      )}
      {removes && (
        <Confirm
          title={t('people.removeTitle', { name: removes.name })}
          action={t('people.remove')}
          word={removes.name}
          close={() => setRemoves(undefined)}
          act={async () => {
            await ask(api.DELETE('/api/v1/users/{id}', { params: { path: { id: removes.id } }, headers: ifMatch(removes.revision) }));
            again();
          }}
        >
          {t('people.removeMore')}
        </Confirm>
      )}
    </Sheet>
  );
}

interface ActionsProps {
  user: User;
  act: (deed: () => Promise<unknown>) => Promise<void>;
  showLink: (link: Schemas['NewLogInLink']) => void;
  remove: () => void;
}

function Actions({ user, act, showLink, remove }: ActionsProps) {
  const { t } = useTranslation();
  const session = useSession();
  const params = { params: { path: { id: user.id } } };
  const isOwn = session.session.user_id === user.id;
  const change = (body: Schemas['ChangeUser']) => act(() => ask(api.PATCH('/api/v1/users/{id}', { ...params, headers: ifMatch(user.revision), body })));
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button size="compact-xs" variant="default" aria-label={t('people.actionsOf', { name: user.name })}>
          {t('state.more')}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => void act(async () => showLink(await ask(api.POST('/api/v1/users/{id}/log-in-link', params))))}>{t('people.link')}</Menu.Item>
        <Menu.Item onClick={() => void act(() => ask(api.DELETE('/api/v1/users/{id}/sessions', params)))}>{t('people.endSessions')}</Menu.Item>
        {!isOwn && (
          <>
            <Menu.Divider />
            {ROLES.filter((role) => role !== user.role).map((role) => (
              <Menu.Item key={role} onClick={() => void change({ role })}>
                {t('people.makeRole', { role: t(`role.${role}`) })}
              </Menu.Item>
            ))}
            <Menu.Divider />
            <Menu.Item onClick={() => void change({ disabled: !user.disabled })}>{user.disabled ? t('people.open') : t('people.doShut')}</Menu.Item>
            <Menu.Item onClick={remove}>{t('people.remove')}</Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}

function Add({ close, made }: { close: () => void; made: (made: Schemas['CreatedUser']) => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const body = { name: name.trim(), role };
  const add = useAct(async () => {
    const created = await ask(api.POST('/api/v1/users', { body }));
    void queries.invalidateQueries({ queryKey: ['users'] });
    made(created);
  });
  return (
    <Modal opened onClose={close} title={t('people.add')} closeButtonProps={{ 'aria-label': t('state.close') }}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void add.run();
        }}
      >
        <TextInput label={t('logIn.name')} description={t('link.nameMore')} value={name} onChange={(event) => setName(event.currentTarget.value)} required maxLength={64} data-autofocus />
        <Select label={t('people.role')} description={t(`roleMore.${role}`)} data={ROLES.map((value) => ({ value, label: t(`role.${value}`) }))} value={role} onChange={(value) => setRole((value ?? 'viewer') as Role)} allowDeselect={false} />
        {add.failure && <FailureNote failure={add.failure} />}
        <div className="row">
          <Button type="submit" loading={add.isBusy}>
            {t('people.addIt')}
          </Button>
          <Commands of={t('people.add')} cli={`icecore-server admin create-user ${name.trim() || 'NAME'} --role ${role}`} call={{ method: 'POST', path: '/api/v1/users', body }} />
        </div>
      </form>
    </Modal>
  );
}
