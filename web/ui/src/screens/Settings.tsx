// What an admin can change about the server while it runs, and how the server is.
import { Button, NumberInput, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask, ifMatch } from '../api/client';
import { health as healthQuery, settings as settingsQuery, type Settings as SettingsOf } from '../api/queries';
import { useMay } from '../app/session';
import { bytes } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Facts, Screen, Sheet } from '../parts/Screen';
import { FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';

export default function Settings() {
  const { t } = useTranslation();
  const settings = useQuery(settingsQuery);
  return (
    <Screen title={t('settings.title')} lead={t('settings.lead')}>
      <div className="columns two">
        <Sheet title={t('settings.server')}>
          <Read query={settings}>{(now) => <Form key={now.revision} settings={now} />}</Read>
        </Sheet>
        <Health />
      </div>
    </Screen>
  );
}

function Form({ settings }: { settings: SettingsOf }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const may = useMay('settings');
  const [name, setName] = useState(settings.appliance_name);
  const [idle, setIdle] = useState<number | string>(settings.session_idle_s / 60);
  const [lifetime, setLifetime] = useState<number | string>(settings.session_lifetime_s / 3600);
  const [link, setLink] = useState<number | string>(settings.log_in_link_lifetime_s / 3600);
  const body = {
    appliance_name: name.trim(),
    session_idle_s: Math.round(Number(idle) * 60),
    session_lifetime_s: Math.round(Number(lifetime) * 3600),
    log_in_link_lifetime_s: Math.round(Number(link) * 3600),
  };
  const save = useAct(async () => {
    const saved = await ask(api.PATCH('/api/v1/settings', { headers: ifMatch(settings.revision), body }));
    queries.setQueryData(settingsQuery.queryKey, saved);
  }, t('state.saved'));
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void save.run();
      }}
    >
      <TextInput label={t('settings.name')} description={t('settings.nameMore')} value={name} onChange={(event) => setName(event.currentTarget.value)} maxLength={100} required disabled={!may} maw={420} />
      <NumberInput label={t('settings.idle')} description={t('settings.idleMore')} suffix=" min" value={idle} onChange={setIdle} min={5} max={43_200} disabled={!may} maw={420} />
      <NumberInput label={t('settings.lifetime')} description={t('settings.lifetimeMore')} suffix=" h" value={lifetime} onChange={setLifetime} min={0.1} max={2160} disabled={!may} maw={420} />
      <NumberInput label={t('settings.link')} description={t('settings.linkMore')} suffix=" h" value={link} onChange={setLink} min={0.1} max={168} disabled={!may} maw={420} />
      {save.failure && <FailureNote failure={save.failure} />}
      {may && (
        <div className="row">
          <Button type="submit" loading={save.isBusy}>
            {t('state.save')}
          </Button>
          <Commands of={t('settings.title')} call={{ method: 'PATCH', path: '/api/v1/settings', body, ifMatch: settings.revision }} />
        </div>
      )}
    </form>
  );
}

function Health() {
  const { t, i18n } = useTranslation();
  const health = useQuery(healthQuery);
  return (
    <Sheet title={t('settings.health')}>
      <Read query={health}>
        {(now) => (
          <Facts
            items={[
              [t('settings.version'), now.version],
              [t('settings.since'), <When key="s" at={now.started_at} />],
              [t('settings.clock'), <When key="c" at={now.now_at} exact />],
              [t('settings.database'), bytes(now.database_bytes, i18n.language)],
              [t('settings.databaseVersion'), now.database_version],
            ]}
          />
        )}
      </Read>
    </Sheet>
  );
}
