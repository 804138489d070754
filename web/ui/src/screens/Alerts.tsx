// Alerts, and the channels by which people are told.
import { Button, Menu, Modal, MultiSelect, PasswordInput, SegmentedControl, Select, TagsInput, TextInput, NumberInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { api, ask, ifMatch, type Schemas } from '../api/client';
import { alerts as alertsQuery, channels as channelsQuery, type AlertChannel } from '../api/queries';
import { useMay } from '../app/session';
import { useAct } from '../parts/act';
import { AlertList } from '../parts/AlertList';
import { Commands } from '../parts/Commands';
import { Confirm } from '../parts/Confirm';
import { Screen, Sheet } from '../parts/Screen';
import { Secret } from '../parts/Secret';
import { State } from '../parts/State';
import { Empty, FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';
import classes from './Alerts.module.css';

type Kind = Schemas['AlertKind'];
const KINDS: Kind[] = ['job_failed', 'plan_late', 'plan_paused', 'agent_silent', 'agent_suspended', 'repository', 'server'];

export default function Alerts() {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const all = search.get('show') === 'all';
  const alerts = useQuery(alertsQuery(!all));
  const mayTell = useMay('settings');
  return (
    <Screen title={t('alerts.title')} lead={t('alerts.lead')}>
      <div className="columns two">
        <Sheet
          isFlush
          title={t('alerts.list')}
          actions={
            <SegmentedControl
              size="xs"
              aria-label={t('alerts.show')}
              value={all ? 'all' : 'lasting'}
              onChange={(value) => setSearch(value === 'all' ? { show: 'all' } : {}, { replace: true })}
              data={[{ value: 'lasting', label: t('alerts.lasting') }, { value: 'all', label: t('alerts.all') }]}
            />
          }
        >
          <Read query={alerts}>
            {(page) =>
              page.items.length === 0 ? (
                <div className={classes.none}>
                  <Empty title={all ? t('alerts.never') : t('alerts.none')}>{all ? undefined : t('alerts.noneMore')}</Empty>
                </div>
              ) : (
                <AlertList items={page.items} />
              )
            }
          </Read>
        </Sheet>
        {mayTell && <Channels />}
      </div>
    </Screen>
  );
}

function Channels() {
  const { t } = useTranslation();
  const channels = useQuery(channelsQuery);
  const [adds, setAdds] = useState(false);
  return (
    <Sheet title={t('channels.title')} actions={<Button size="xs" onClick={() => setAdds(true)}>{t('channels.add')}</Button>}>
      <Read query={channels}>
        {(all) =>
          all.length === 0 ? (
            <Empty title={t('channels.none')}>{t('channels.noneMore')}</Empty>
          ) : (
            <ul className={classes.channels}>
              {all.map((channel) => (
                <li key={channel.id}>
                  <Channel channel={channel} />
                </li>
              ))}
            </ul>
          )
        }
      </Read>
      {adds && <Add close={() => setAdds(false)} />}
    </Sheet>
  );
}

function Channel({ channel }: { channel: AlertChannel }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [removes, setRemoves] = useState(false);
  const params = { params: { path: { id: channel.id } } };
  const again = () => void queries.invalidateQueries({ queryKey: ['channels'] });
  const test = useAct(async () => {
    await ask(api.POST('/api/v1/alert-channels/{id}/test', params));
    again();
  }, t('channels.tested'));
  const change = useAct(async (enabled: boolean) => {
    await ask(api.PATCH('/api/v1/alert-channels/{id}', { ...params, headers: ifMatch(channel.revision), body: { enabled } }));
    again();
  });
  const failure = test.failure ?? change.failure;
  const { target } = channel;
  return (
    <div className="stack tight">
      <div className="row apart tight">
        <span className="row tight">
          <strong className={classes.name}>{channel.name}</strong>
          <State tone={channel.last_error ? 'bad' : channel.enabled ? 'good' : 'none'}>
            {channel.last_error ? t('channels.fails') : channel.enabled ? t('channels.on') : t('channels.off')}
          </State>
        </span>
        <Menu position="bottom-end">
          <Menu.Target>
            <Button size="compact-xs" variant="default" aria-label={t('channels.actionsOf', { name: channel.name })}>
              {t('state.more')}
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => void change.run(!channel.enabled)}>{channel.enabled ? t('channels.disable') : t('channels.enable')}</Menu.Item>
            <Menu.Item onClick={() => setRemoves(true)}>{t('channels.remove')}</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </div>
      <p className="small soft mono">{target.kind === 'mail' ? target.to.join(', ') : target.url}</p>
      <p className="faint">
        {channel.kinds.length === 0 ? t('channels.allKinds') : channel.kinds.map((kind) => t(`alertKind.${kind}`, { defaultValue: kind })).join(', ')} · {t('channels.lastSent')} <When at={channel.last_sent_at} />
      </p>
      {channel.last_error && <p className="small" style={{ color: 'var(--bad-ink)' }}>{channel.last_error}</p>}
      {failure && <FailureNote failure={failure} />}
      <div className="row tight">
        <Button size="xs" variant="default" onClick={() => void test.run()} loading={test.isBusy}>
          {t('channels.test')}
        </Button>
        <Commands of={t('channels.test')} call={{ method: 'POST', path: `/api/v1/alert-channels/${channel.id}/test` }} />
      </div>
      {removes && (
        <Confirm
          title={t('channels.removeTitle', { name: channel.name })}
          action={t('channels.remove')}
          close={() => setRemoves(false)}
          act={async () => {
            await ask(api.DELETE('/api/v1/alert-channels/{id}', { ...params, headers: ifMatch(channel.revision) }));
            again();
          }}
        >
          {t('channels.removeMore')}
        </Confirm>
      )}
    </div>
  );
}

function Add({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [kind, setKind] = useState<'mail' | 'webhook'>('mail');
  const [name, setName] = useState('');
  const [kinds, setKinds] = useState<string[]>([]);
  const [url, setUrl] = useState('https://');
  const [mail, setMail] = useState({ host: '', port: 587, encryption: 'starttls' as Schemas['MailEncryption'], user: '', from: '', to: [] as string[], password: '' });
  const [made, setMade] = useState<Schemas['CreatedAlertChannel']>();
  const { password, user, ...address } = mail;
  const body: Schemas['CreateAlertChannel'] = {
    name: name.trim(),
    kinds: kinds as Kind[],
    target: kind === 'mail' ? { kind, ...address, ...(user ? { user } : {}) } : { kind, url: url.trim() },
    ...(kind === 'mail' && password ? { mail_password: password } : {}),
  };
  const add = useAct(async () => {
    const created = await ask(api.POST('/api/v1/alert-channels', { body }));
    await queries.invalidateQueries({ queryKey: ['channels'] });
    if (created.secret) setMade(created);
    else close();
  }, t('channels.wasAdded'));
  const put = (change: Partial<typeof mail>) => setMail((now) => ({ ...now, ...change }));
  return (
    <Modal opened onClose={close} size="lg" title={t('channels.add')} closeButtonProps={{ 'aria-label': t('state.close') }}>
      {made ? (
        <Secret lead={t('channels.secret')} secret={made.secret ?? ''} label={t('channels.secretLabel')} close={close} />
      ) : (
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void add.run();
          }}
        >
          <SegmentedControl aria-label={t('channels.kind')} value={kind} onChange={(value) => setKind(value as typeof kind)} data={[{ value: 'mail', label: t('channels.mail') }, { value: 'webhook', label: t('channels.webhook') }]} />
          <TextInput label={t('channels.name')} value={name} onChange={(event) => setName(event.currentTarget.value)} required maxLength={100} data-autofocus />
          {kind === 'webhook' ? (
            <TextInput label={t('channels.url')} description={t('channels.urlMore')} type="url" value={url} onChange={(event) => setUrl(event.currentTarget.value)} required />
          ) : (
            <>
              <div className={classes.pair}>
                <TextInput label={t('channels.host')} value={mail.host} onChange={(event) => put({ host: event.currentTarget.value })} required />
                <NumberInput label={t('channels.port')} value={mail.port} onChange={(value) => put({ port: Number(value) })} min={1} max={65_535} required />
                <Select label={t('channels.encryption')} data={['starttls', 'tls', 'off'].map((value) => ({ value, label: t(`encryption.${value}`) }))} value={mail.encryption} onChange={(value) => put({ encryption: (value ?? 'starttls') as Schemas['MailEncryption'] })} allowDeselect={false} />
              </div>
              <div className={classes.pair}>
                <TextInput label={t('channels.user')} value={mail.user} onChange={(event) => put({ user: event.currentTarget.value })} autoComplete="off" />
                <PasswordInput label={t('channels.password')} value={mail.password} onChange={(event) => put({ password: event.currentTarget.value })} autoComplete="new-password" visibilityToggleButtonProps={{ 'aria-label': t('logIn.showPassword') }} />
              </div>
              <TextInput label={t('channels.from')} type="email" value={mail.from} onChange={(event) => put({ from: event.currentTarget.value })} required />
              <TagsInput label={t('channels.to')} description={t('channels.toMore')} value={mail.to} onChange={(to) => put({ to })} acceptValueOnBlur />
            </>
          )}
          <MultiSelect label={t('channels.kinds')} placeholder={kinds.length === 0 ? t('channels.allKinds') : undefined} data={KINDS.map((value) => ({ value, label: t(`alertKind.${value}`) }))} value={kinds} onChange={setKinds} />
          {add.failure && <FailureNote failure={add.failure} />}
          <div className="row">
            <Button type="submit" loading={add.isBusy}>
              {t('channels.addIt')}
            </Button>
            <Commands of={t('channels.add')} call={{ method: 'POST', path: '/api/v1/alert-channels', body: { ...body, ...(body.mail_password ? { mail_password: '…' } : {}) } }} />
          </div>
        </form>
      )}
    </Modal>
  );
}
