// The parts of the form of a plan.
import { Button, Checkbox, Chip, NumberInput, SegmentedControl, Select, Switch, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { agents as agentsQuery, devices as devicesQuery, plans as plansQuery } from '../api/queries';
import { PERIODS, type Keep } from '../logic/keep';
import { nameFor, type Missing, type PlanDraft } from '../logic/planDraft';
import { EVERY_HOURS, runs, type Rhythm } from '../logic/schedule';
import { DiskMap } from '../parts/DiskMap';
import { weekdayNames } from '../parts/rhythmWords';
import { Read } from '../parts/states';
import classes from './PlanEditor.module.css';

export interface FieldProps {
  draft: PlanDraft;
  set: (change: Partial<PlanDraft>) => void;
  /** What is still needed, once somebody tried to save. */
  lacks: Missing[];
}

export function MachineField({ draft, set, lacks, isFixed }: FieldProps & { isFixed: boolean }) {
  const { t } = useTranslation();
  const [agents, plans] = [useQuery(agentsQuery), useQuery(plansQuery)];
  const able = (agents.data ?? []).filter((agent) => !agent.revoked_at || agent.id === draft.agentId);
  function choose(id: string | null) {
    const agent = able.find((one) => one.id === id);
    if (agent) set({ agentId: agent.id, paths: [], allDisks: false, name: nameFor(agent.name, (plans.data ?? []).map((plan) => plan.name)) });
  }
  return (
    <Select
      label={t('machines.machine')}
      placeholder={t('plan.chooseMachine')}
      data={able.map((agent) => ({ value: agent.id, label: agent.name }))}
      value={draft.agentId || null}
      onChange={choose}
      disabled={isFixed}
      searchable={able.length > 8}
      allowDeselect={false}
      error={lacks.includes('machine') && t('plan.lacks_machine')}
      maw={360}
    />
  );
}

export function DisksField({ draft, set, lacks }: FieldProps) {
  const { t } = useTranslation();
  const machine = useQuery(devicesQuery(draft.agentId));
  const [other, setOther] = useState('');
  const known = new Set(machine.data?.devices.map((device) => device.path));
  const typed = draft.paths.filter((path) => !known.has(path));
  function add() {
    const path = other.trim();
    if (path && !draft.paths.includes(path)) set({ paths: [...draft.paths, path] });
    setOther('');
  }
  return (
    <fieldset className={classes.field}>
      <legend className={classes.legend}>{t('plan.disks')}</legend>
      <div className="stack">
        <Switch label={t('plan.allDisks')} description={t('plan.allDisksMore')} checked={draft.allDisks} onChange={(event) => set({ allDisks: event.currentTarget.checked })} />
        {!draft.allDisks && (
          <>
            <Read query={machine}>
              {(list) =>
                list.devices.length > 0 ? (
                  <DiskMap devices={list.devices} chosen={draft.paths} choose={(paths) => set({ paths })} />
                ) : (
                  <p className="soft">{t('machines.noDisksMore')}</p>
                )
              }
            </Read>
            {typed.map((path) => (
              <Checkbox key={path} label={<span className="mono">{path}</span>} checked onChange={() => set({ paths: draft.paths.filter((one) => one !== path) })} />
            ))}
            <div className={classes.times}>
              <TextInput
                className={classes.wide}
                label={t('plan.otherPath')}
                description={t('plan.otherPathMore')}
                placeholder="/dev/vg0/root"
                value={other}
                onChange={(event) => setOther(event.currentTarget.value)}
                onKeyDown={(event) => {
                  if (event.key === 'Enter') {
                    event.preventDefault();
                    add();
                  }
                }}
              />
              <Button variant="default" onClick={add} disabled={!other.trim().startsWith('/')}>
                {t('plan.addPath')}
              </Button>
            </div>
          </>
        )}
        {(lacks.includes('disks') || lacks.includes('path')) && <p style={{ color: 'var(--bad-ink)' }}>{t('plan.lacks_disks')}</p>}
      </div>
    </fieldset>
  );
}

const KINDS = ['daily', 'hours', 'weekly', 'cron', 'asked'] as const;

function fresh(kind: Rhythm['kind'], before: Rhythm): Rhythm {
  const at = 'at' in before ? before.at : '02:00';
  if (kind === 'hours') return { kind, every: 6, minute: 0 };
  if (kind === 'daily') return { kind, at };
  if (kind === 'weekly') return { kind, days: [1, 4], at };
  if (kind === 'cron') return { kind, cron: '0 2 * * 1-5' };
  return { kind: 'asked' };
}

export function WhenField({ draft, set, lacks }: FieldProps) {
  const { t, i18n } = useTranslation();
  const { rhythm } = draft;
  const put = (next: Rhythm) => set({ rhythm: next });
  const isWrong = rhythm.kind === 'cron' && runs(rhythm.cron, draft.zone, new Date(), 1).length === 0;
  return (
    <div className="stack">
      <SegmentedControl
        aria-label={t('plans.when')}
        value={rhythm.kind}
        onChange={(kind) => put(fresh(kind as Rhythm['kind'], rhythm))}
        data={KINDS.map((value) => ({ value, label: t(`rhythm.kind_${value}`) }))}
        style={{ flexWrap: 'wrap' }}
      />
      <div className={classes.times}>
        {rhythm.kind === 'hours' && (
          <Select
            label={t('rhythm.every')}
            data={EVERY_HOURS.map((hours) => ({ value: String(hours), label: t('rhythm.everyHours', { count: hours }) }))}
            value={String(rhythm.every)}
            onChange={(value) => put({ ...rhythm, every: Number(value ?? 1) })}
            allowDeselect={false}
          />
        )}
        {(rhythm.kind === 'daily' || rhythm.kind === 'weekly') && (
          <TextInput type="time" label={t('rhythm.at')} value={rhythm.at} onChange={(event) => put({ ...rhythm, at: event.currentTarget.value || '02:00' })} />
        )}
        {rhythm.kind === 'cron' && (
          <TextInput label={t('rhythm.cron')} description={t('rhythm.cronMore')} value={rhythm.cron} onChange={(event) => put({ kind: 'cron', cron: event.currentTarget.value })} error={isWrong && t('rhythm.wrong')} className={classes.wide} />
        )}
        {rhythm.kind !== 'asked' && (
          <Select label={t('rhythm.zone')} data={zones(draft.zone)} value={draft.zone} onChange={(zone) => zone && set({ zone })} searchable allowDeselect={false} limit={80} />
        )}
        {rhythm.kind !== 'asked' && (
          <NumberInput label={t('rhythm.jitter')} description={t('rhythm.jitterMore')} suffix=" min" min={0} max={1440} value={draft.jitterS / 60} onChange={(value) => set({ jitterS: Math.round(Number(value) * 60) })} />
        )}
      </div>
      {rhythm.kind === 'weekly' && (
        <Chip.Group multiple value={rhythm.days.map(String)} onChange={(days) => put({ ...rhythm, days: days.map(Number) })}>
          <div className="row tight" role="group" aria-label={t('rhythm.days')}>
            {[1, 2, 3, 4, 5, 6, 0].map((day) => (
              <Chip key={day} value={String(day)} size="sm">
                {weekdayNames(i18n.language)[day]}
              </Chip>
            ))}
          </div>
        </Chip.Group>
      )}
      {lacks.includes('days') && <p style={{ color: 'var(--bad-ink)' }}>{t('plan.lacks_days')}</p>}
      {rhythm.kind !== 'asked' && <Switch label={t('rhythm.catchUp')} description={t('rhythm.catchUpMore')} checked={draft.catchUp} onChange={(event) => set({ catchUp: event.currentTarget.checked })} />}
    </div>
  );
}

function zones(own: string): string[] {
  const all = Intl.supportedValuesOf('timeZone');
  return [...new Set([own, 'UTC', ...all])];
}

export function KeepField({ draft, set }: FieldProps) {
  const { t } = useTranslation();
  const put = (name: keyof Keep) => (value: number | string) => set({ keep: { ...draft.keep, [name]: Math.max(0, Math.round(Number(value) || 0)) } });
  return (
    <fieldset className={classes.field}>
      <legend className="hidden">{t('plan.keep')}</legend>
      <div className={classes.counts}>
        {[...PERIODS, 'last' as const, 'minimum' as const].map((name) => (
          <NumberInput key={name} label={t(`keep.${name}`)} min={0} max={9999} value={draft.keep[name]} onChange={put(name)} />
        ))}
      </div>
      {draft.keep.within && <p className="faint">{t('keep.withinStays', { span: draft.keep.within })}</p>}
    </fieldset>
  );
}

const MIB = 2 ** 20;

export function MoreFields({ draft, set }: FieldProps) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <div className={classes.times}>
        <NumberInput label={t('plan.retries')} min={0} max={20} value={draft.retries.count} onChange={(value) => set({ retries: { ...draft.retries, count: Number(value) || 0 } })} />
        <NumberInput label={t('plan.pauseS')} suffix=" s" min={0} max={86_400} value={draft.retries.pause_s} onChange={(value) => set({ retries: { ...draft.retries, pause_s: Number(value) || 0 } })} />
        <NumberInput
          label={t('plan.limit')}
          suffix=" MiB/s"
          min={0}
          value={draft.limitBytesPerS ? draft.limitBytesPerS / MIB : ''}
          onChange={(value) => set({ limitBytesPerS: value ? Math.round(Number(value) * MIB) : undefined })}
        />
      </div>
      <Switch label={t('plan.usedOnly')} description={t('plan.usedOnlyMore')} checked={draft.usedBlocksOnly} onChange={(event) => set({ usedBlocksOnly: event.currentTarget.checked })} />
      <Switch label={t('plan.allowLive')} description={t('plan.allowLiveMore')} checked={draft.allowLive} onChange={(event) => set({ allowLive: event.currentTarget.checked })} />
    </div>
  );
}
