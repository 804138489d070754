// Tokens for scripts: made with rights of their own, shown once, revoked.
import { Button, Checkbox, Modal, Select, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask } from '../api/client';
import { tokens as tokensQuery, type Right } from '../api/queries';
import { useSession } from '../app/session';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Rows } from '../parts/Rows';
import { Sheet } from '../parts/Screen';
import { Secret } from '../parts/Secret';
import { Empty, FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';

const DAYS = [7, 30, 90, 365, 730];
const DAY_MS = 86_400_000;

export function Tokens() {
  const { t } = useTranslation();
  const tokens = useQuery(tokensQuery);
  const [adds, setAdds] = useState(false);
  const revoke = useAct(async (id: string) => {
    await ask(api.DELETE('/api/v1/tokens/{id}', { params: { path: { id } } }));
    await tokens.refetch();
  }, t('tokens.revoked'));
  return (
    <Sheet title={t('tokens.title')} isFlush actions={<Button size="xs" onClick={() => setAdds(true)}>{t('tokens.add')}</Button>}>
      {revoke.failure && <FailureNote failure={revoke.failure} />}
      <Read query={tokens}>
        {(all) =>
          all.length === 0 ? (
            <div style={{ padding: '0 18px' }}>
              <Empty title={t('tokens.none')}>{t('tokens.noneMore')}</Empty>
            </div>
          ) : (
            <Rows
              label={t('tokens.title')}
              items={all}
              rowKey={(token) => token.id}
              columns={[
                { name: t('tokens.name'), cell: (token) => <strong>{token.name}</strong> },
                { name: t('tokens.prefix'), isTight: true, cell: (token) => <span className="mono">{token.prefix}…</span> },
                { name: t('tokens.rights'), cell: (token) => token.rights.map((right) => t(`right.${right}`)).join(', ') },
                { name: t('tokens.used'), cell: (token) => <When at={token.last_used_at} /> },
                { name: t('tokens.ends'), isTight: true, cell: (token) => <When at={token.expires_at} exact /> },
                {
                  name: t('people.actions'),
                  isNumber: true,
                  cell: (token) => (
                    <Button size="compact-xs" variant="default" onClick={() => void revoke.run(token.id)} aria-label={t('tokens.revokeOf', { name: token.name })}>
                      {t('tokens.revoke')}
                    </Button>
                  ),
                },
              ]}
            />
          )
        }
      </Read>
      {adds && (
        <Add
          close={() => {
            setAdds(false);
            void tokens.refetch();
          }}
        />
      )}
    </Sheet>
  );
}

function Add({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const session = useSession();
  const [name, setName] = useState('');
  const [rights, setRights] = useState<string[]>(['read']);
  const [days, setDays] = useState('90');
  const [secret, setSecret] = useState<string>();
  const [start] = useState(() => Date.now());
  const body = { name: name.trim(), rights: rights as Right[], expires_at: new Date(start + Number(days) * DAY_MS - 60_000).toISOString() };
  const add = useAct(async () => {
    const made = await ask(api.POST('/api/v1/tokens', { body }));
    setSecret(made.secret ?? '');
  });
  return (
    <Modal opened onClose={close} title={t('tokens.add')} closeButtonProps={{ 'aria-label': t('state.close') }}>
      {secret !== undefined ? (
        <Secret lead={t('tokens.once')} secret={secret} label={t('tokens.secret')} close={close} />
      ) : (
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void add.run();
          }}
        >
          <TextInput label={t('tokens.name')} description={t('tokens.nameMore')} value={name} onChange={(event) => setName(event.currentTarget.value)} required maxLength={100} data-autofocus />
          <Checkbox.Group label={t('tokens.rights')} value={rights} onChange={setRights}>
            <div className="stack tight" style={{ marginTop: 6 }}>
              {session.rights.map((right) => (
                <Checkbox key={right} value={right} label={t(`right.${right}`)} description={t(`rightMore.${right}`)} />
              ))}
            </div>
          </Checkbox.Group>
          <Select label={t('tokens.ends')} data={DAYS.map((count) => ({ value: String(count), label: t('tokens.days', { count }) }))} value={days} onChange={(value) => setDays(value ?? '90')} allowDeselect={false} />
          {add.failure && <FailureNote failure={add.failure} />}
          <div className="row">
            <Button type="submit" loading={add.isBusy} disabled={rights.length === 0}>
              {t('tokens.make')}
            </Button>
            <Commands of={t('tokens.add')} cli={`icecore login --rights ${rights.join(',') || 'read'} ${window.location.origin}`} />
          </div>
        </form>
      )}
    </Modal>
  );
}
