// A restore, step by step on one page: which point, what of it, where to, what that would do, and then doing it. Everything that was
// chosen is in the URL.
import { Button, Checkbox, NumberInput, SegmentedControl, Select, Textarea, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { api, ask } from '../api/client';
import { agents as agentsQuery, point as pointQuery, points as pointsQuery, repositories as repositoriesQuery, type RecoveryPoint } from '../api/queries';
import { useMay } from '../app/session';
import { allowedFor, bodyOf, cliOf, confirmWord, destroys, draftOf, EXISTING, FORMATS, goesBack, goesToMachines, lacks, paths, searchOf, WHATS, type Existing, type Format, type RestoreDraft, type What } from '../logic/restoreDraft';
import { quoted } from '../logic/commands';
import { bytes } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { Confirm } from '../parts/Confirm';
import { CopyLine } from '../parts/CopyLine';
import { Note } from '../parts/Note';
import { PointLink, usePointName } from '../parts/PointLink';
import { PointStateWord } from '../parts/PointState';
import { Trial } from '../parts/Restored';
import { Rows } from '../parts/Rows';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';
import classes from './Restore.module.css';

type Change = (part: Partial<RestoreDraft>) => void;

export default function Restore() {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const draft = draftOf(search);
  const found = useQuery(pointQuery(draft.point));
  const may = useMay('restore');
  // A trial is one of what was chosen then; whatever is changed, it says nothing any more.
  const change: Change = (part) => setSearch(searchOf({ ...draft, ...part }), { replace: true });
  const tried = (job: string) =>
    setSearch((now) => {
      now.set('trial', job);
      return now;
    }, { replace: true });
  const missing = lacks(draft, found.data?.disks.length ?? 1);
  return (
    <Screen title={t('restore.title')} lead={t('restore.lead')} back={draft.point ? { to: `/points/${draft.point}`, text: t('plan.point') } : { to: '/points', text: t('points.title') }}>
      {!may && <Note title={t('restore.mayNot')}>{t('restore.mayNotMore')}</Note>}
      <Step number={1} title={t('restore.when')} isDone={Boolean(found.data)}>
        {draft.point ? <Read query={found}>{(point) => <Chosen point={point} again={() => change({ point: '', disk: undefined })} />}</Read> : <Choose choose={(id) => change({ point: id, disk: undefined })} />}
      </Step>
      {found.data && (
        <>
          <Step number={2} title={t('restore.what')} isDone={!missing.some((lack) => lack !== 'target')}>
            <Contents draft={draft} point={found.data} change={change} />
          </Step>
          <Step number={3} title={t('restore.where')} isDone={!missing.includes('target')}>
            <Target draft={draft} point={found.data} change={change} />
          </Step>
          {may && (
            <Step number={4} title={t('restore.go')} isDone={false}>
              {missing.length > 0 ? (
                <p className="soft">{missing.map((lack) => t(`restore.lacks_${lack}`)).join(' ')}</p>
              ) : (
                <Go draft={draft} point={found.data} trial={search.get('trial') ?? undefined} tried={tried} />
              )}
            </Step>
          )}
        </>
      )}
    </Screen>
  );
}

function Step({ number, title, isDone, children }: { number: number; title: string; isDone: boolean; children: ReactNode }) {
  return (
    <Sheet
      title={
        <span className={classes.step} data-done={isDone || undefined}>
          <span className={classes.number} aria-hidden="true">
            {number}
          </span>
          {title}
        </span>
      }
    >
      {children}
    </Sheet>
  );
}

function Chosen({ point, again }: { point: RecoveryPoint; again: () => void }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <div className="row apart">
        <span className="row tight">
          <PointLink point={point} /> <PointStateWord point={point} />
          <span className="soft">
            {point.agent ?? point.host} · <When at={point.made_at ?? point.received_at} exact />
          </span>
        </span>
        <Button variant="default" size="xs" onClick={again}>
          {t('restore.another')}
        </Button>
      </div>
      {point.flaw && <Note title={t('points.isFlawed')} isUrgent>{t('points.isFlawedMore')}</Note>}
      {point.forgotten_at && <Note title={t('points.isForgotten')}>{t('restore.forgotten')}</Note>}
      {point.gone_at && <Note title={t('points.isGone')} isUrgent />}
    </div>
  );
}

const OFFERED = 20;

function Choose({ choose }: { choose: (id: string) => void }) {
  const { t, i18n } = useTranslation();
  const agents = useQuery(agentsQuery);
  const [agent, setAgent] = useState<string | null>(null);
  const found = useQuery(pointsQuery(agent ? { agent_id: agent } : {}, OFFERED));
  const name = usePointName();
  return (
    <div className="stack">
      <Select label={t('restore.machine')} placeholder={t('jobs.anyMachine')} clearable searchable data={(agents.data ?? []).map((one) => ({ value: one.id, label: one.name }))} value={agent} onChange={setAgent} maw={320} />
      <Read query={found}>
        {(page) =>
          page.items.length === 0 ? (
            <Empty title={t('points.none')}>{t('plan.noPointsMore')}</Empty>
          ) : (
            <Rows
              label={t('points.newest')}
              items={page.items}
              rowKey={(point) => point.id}
              columns={[
                { name: t('plan.point'), cell: (point) => <PointLink point={point} /> },
                { name: t('machines.machine'), cell: (point) => point.agent ?? point.host ?? '–' },
                { name: t('plan.received'), isTight: true, cell: (point) => <When at={point.received_at} exact /> },
                { name: t('points.state'), isTight: true, cell: (point) => <PointStateWord point={point} /> },
                { name: t('points.size'), isNumber: true, cell: (point) => (point.source_bytes == null ? '–' : bytes(point.source_bytes, i18n.language)) },
                {
                  name: t('restore.choose'),
                  isTight: true,
                  cell: (point) => (
                    <Button size="xs" variant="default" onClick={() => choose(point.id)} aria-label={t('restore.chooseOf', { name: name(point) })}>
                      {t('restore.choose')}
                    </Button>
                  ),
                },
              ]}
            />
          )
        }
      </Read>
      {(found.data?.items.length ?? 0) >= OFFERED && <Link to={`/points${agent ? `?machine=${agent}` : ''}`}>{t('points.all')}</Link>}
    </div>
  );
}

function Contents({ draft, point, change }: { draft: RestoreDraft; point: RecoveryPoint; change: Change }) {
  const { t, i18n } = useTranslation();
  const [text, setText] = useState(draft.files.join('\n'));
  const media = point.disks.map((disk) => ({ value: disk.name, label: `${disk.name} · ${disk.path} · ${bytes(disk.size_bytes, i18n.language)}` }));
  // A logical volume, as the files of it are restored.
  if (draft.disk && media.every((one) => one.value !== draft.disk)) media.push({ value: draft.disk, label: draft.disk });
  return (
    <div className="stack">
      <SegmentedControl className={classes.what} aria-label={t('restore.what')} value={draft.what} onChange={(value) => change({ what: value as What })} data={WHATS.map((value) => ({ value, label: t(`restore.what_${value}`) }))} />
      <p className="soft small">{t(`restore.more_${draft.what}`)}</p>
      <div className={classes.fields}>
        {media.length > 1 && (
          <Select label={t('restore.disk')} data={media} value={draft.disk ?? null} onChange={(value) => change({ disk: value ?? undefined })} />
        )}
        {(draft.what === 'partition' || draft.what === 'files') && (
          <NumberInput
            label={draft.what === 'files' ? t('restore.partitionOf') : t('restore.partition')}
            description={draft.what === 'files' ? t('restore.partitionOfMore') : t('restore.partitionMore')}
            value={draft.partition ?? ''}
            onChange={(value) => change({ partition: Number(value) > 0 ? Number(value) : undefined })}
            min={1}
            max={256}
            allowDecimal={false}
            allowNegative={false}
          />
        )}
        {draft.what === 'image' && <Select label={t('restore.format')} data={FORMATS.map((value) => ({ value, label: t(`restore.format_${value}`) }))} value={draft.format} onChange={(value) => value && change({ format: value as Format })} allowDeselect={false} />}
      </div>
      {draft.what === 'files' && (
        <Textarea
          label={t('restore.files')}
          description={t('restore.filesMore')}
          value={text}
          onChange={(event) => {
            setText(event.currentTarget.value);
            change({ files: paths(event.currentTarget.value) });
          }}
          autosize
          minRows={3}
          maxRows={10}
          spellCheck={false}
          classNames={{ input: 'mono' }}
        />
      )}
      {draft.what !== 'disk' && draft.what !== 'image' && <CopyLine text={`icecore ls ${point.id.slice(0, 12)}`} label={t('restore.listing')} />}
    </div>
  );
}

function Target({ draft, point, change }: { draft: RestoreDraft; point: RecoveryPoint; change: Change }) {
  const { t } = useTranslation();
  const kept = useQuery(repositoriesQuery);
  const agents = useQuery(agentsQuery);
  const { repository } = point;
  const found = kept.data?.find((one) => one.name === repository);
  const own = agents.data?.find((one) => one.id === point.agent_id && !one.keeper && !one.revoked_at);
  const isFiles = draft.what === 'files';
  const compares = draft.what === 'disk' || draft.what === 'partition';
  return (
    <div className="stack">
      {found && !found.keeper && (
        <Note title={t('restore.noKeeper', { name: repository })} isUrgent>
          <p className="small">{t('keeping.noneMore')}</p>
          <CopyLine text={`icecore-server admin enroll-keeper ${repository}`} />
        </Note>
      )}
      {isFiles && (
        <>
          <SegmentedControl
            className={classes.what}
            aria-label={t('restore.where')}
            value={draft.inPlace ? 'back' : 'directory'}
            onChange={(value) => change(value === 'back' ? { inPlace: true, agent: own?.id } : { inPlace: false })}
            data={[
              { value: 'directory', label: t('restore.intoDirectory') },
              { value: 'back', label: t('restore.back') },
            ]}
          />
          {draft.inPlace && <p className="soft small">{t('restore.backMore')}</p>}
        </>
      )}
      {goesToMachines(draft) && <Writer draft={draft} repository={repository} change={change} />}
      {!goesBack(draft) && (
        <TextInput
          label={isFiles ? t('restore.targetDirectory') : t('restore.target')}
          description={t(draft.agent && goesToMachines(draft) ? 'restore.targetThere' : 'restore.targetMore')}
          placeholder={isFiles ? '/srv/restores/files' : draft.what === 'image' ? `/srv/restores/disk.${draft.format}` : '/srv/restores/disk.img'}
          value={draft.target}
          onChange={(event) => change({ target: event.currentTarget.value })}
          spellCheck={false}
          autoComplete="off"
          maxLength={4096}
          error={draft.target !== '' && !/^\/.+/.test(draft.target) && t('restore.targetWrong')}
        />
      )}
      {isFiles ? (
        <Select label={t('restore.existing')} description={t(`restore.existingMore_${draft.existing}`)} data={EXISTING.map((value) => ({ value, label: t(`restore.existing_${value}`) }))} value={draft.existing} onChange={(value) => value && change({ existing: value as Existing })} allowDeselect={false} maw={420} />
      ) : (
        <Checkbox label={t('restore.overwrite')} description={t('restore.overwriteMore')} checked={draft.overwrite} onChange={(event) => change({ overwrite: event.currentTarget.checked })} />
      )}
      {compares && <Checkbox label={t('restore.delta')} description={t('restore.deltaMore')} checked={draft.delta} onChange={(event) => change({ delta: event.currentTarget.checked })} />}
      <p className="faint">{t('restore.elsewhere')}</p>
      <CopyLine text={cliOf(draft, false)} label={t('commands.cli')} />
    </div>
  );
}

/** A machine that has said nothing for so long would leave the job waiting. */
const AWAY_MS = 180_000;

/** Which machine writes it. Another one than the keeper's takes a word on two command lines, which nobody can give from here. */
function Writer({ draft, repository, change }: { draft: RestoreDraft; repository: string; change: Change }) {
  const { t } = useTranslation();
  const found = useQuery(agentsQuery);
  const machines = (found.data ?? []).filter((one) => one.repository === repository && !one.keeper && !one.revoked_at);
  const chosen = machines.find((one) => one.id === draft.agent);
  const isAway = (seen: string | null | undefined) => !seen || found.dataUpdatedAt - Date.parse(seen) > AWAY_MS;
  const option = draft.what === 'files' ? '--restore-files' : '--restore-to';
  return (
    <>
      <Select
        label={t('restore.writer')}
        placeholder={t('restore.writerKeeper')}
        clearable
        searchable
        data={machines.map((one) => ({ value: one.id, label: isAway(one.last_seen_at) ? t('restore.away', { name: one.name }) : one.name }))}
        value={draft.agent ?? null}
        onChange={(value) => change({ agent: value ?? undefined })}
        maw={320}
      />
      {chosen && (
        <Note title={t('restore.consents', { name: chosen.name })}>
          <p className="small">{t('restore.consentsMore')}</p>
          <p className="small">{t('restore.consentKeeper')}</p>
          <CopyLine text={`icecore agent run --pass-to ${chosen.writer}`} label={t('restore.consentKeeper')} />
          <p className="small">{t('restore.consentMachine', { name: chosen.name })}</p>
          <CopyLine text={`icecore agent run ${option} ${quoted(allowedFor(draft))}`} label={t('restore.consentMachine', { name: chosen.name })} />
        </Note>
      )}
    </>
  );
}

interface GoProps {
  draft: RestoreDraft;
  point: RecoveryPoint;
  trial: string | undefined;
  tried: (job: string) => void;
}

function Go({ draft, point, trial, tried }: GoProps) {
  const { t } = useTranslation();
  const go = useNavigate();
  const name = usePointName();
  const [asks, setAsks] = useState(false);
  const look = useAct(async () => {
    const job = await ask(api.POST('/api/v1/restores', { body: bodyOf(draft, true) }));
    tried(job.id);
  });
  const start = async () => {
    const job = await ask(api.POST('/api/v1/restores', { body: bodyOf(draft, false) }));
    await go(`/jobs/${job.id}`);
  };
  const begin = useAct(start);
  const isTyped = destroys(draft);
  const target = goesBack(draft) ? t('restore.wherePlace') : draft.target;
  const lost = draft.what === 'files' ? t('restore.replaces') : t('restore.destroys', { target });
  return (
    <div className="stack">
      <p className="soft">{draft.what === 'files' ? t('restore.trialFiles') : t('restore.trialMore')}</p>
      <div className="row">
        <Button variant={trial ? 'default' : 'filled'} onClick={() => void look.run()} loading={look.isBusy}>
          {trial ? t('restore.trialAgain') : t('restore.trial')}
        </Button>
        <Commands of={t('restore.trial')} cli={cliOf(draft, true)} call={{ method: 'POST', path: '/api/v1/restores', body: bodyOf(draft, true) }} />
      </div>
      {look.failure && <FailureNote failure={look.failure} />}
      {trial && <Trial id={trial} />}
      {isTyped && <Note title={lost}>{t('restore.destroysMore')}</Note>}
      {begin.failure && <FailureNote failure={begin.failure} />}
      <div className="row">
        <Button color={isTyped ? 'red.8' : undefined} variant={trial ? 'filled' : 'default'} onClick={() => (isTyped ? setAsks(true) : void begin.run())} loading={begin.isBusy}>
          {t('restore.do')}
        </Button>
        <Commands of={t('restore.do')} cli={cliOf(draft, false)} call={{ method: 'POST', path: '/api/v1/restores', body: bodyOf(draft, false) }} />
      </div>
      {asks && (
        <Confirm title={t('restore.confirm', { name: name(point), target })} action={t('restore.do')} word={confirmWord(draft)} close={() => setAsks(false)} act={start}>
          {t('restore.destroysMore')}
        </Confirm>
      )}
    </div>
  );
}
