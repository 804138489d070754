// A plan is written here, new or again: which disks of which machine, when, and how long. What it will come to is shown meanwhile.
import { Button, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams, useSearchParams } from 'react-router';
import { api, ask, ifMatch } from '../api/client';
import { asFailure } from '../api/failure';
import { madePoint } from '../api/jobResult';
import { agents as agentsQuery, jobs as jobsQuery, plan as planQuery, plans as plansQuery, type Plan } from '../api/queries';
import { bodyOf, draftOf, missing, nameFor, newDraft, type PlanDraft } from '../logic/planDraft';
import { cronOf, runs } from '../logic/schedule';
import { moment } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { useKeepWords } from '../parts/keepWords';
import { Note } from '../parts/Note';
import { useRhythmWords } from '../parts/rhythmWords';
import { Screen, Sheet } from '../parts/Screen';
import { Simulator } from '../parts/Simulator';
import { Empty, FailureNote, Loading, Read } from '../parts/states';
import { DisksField, KeepField, MachineField, MoreFields, WhenField } from './PlanFields';
import { ZONE } from './Overview';
import classes from './PlanEditor.module.css';

export default function PlanEditor() {
  const { t } = useTranslation();
  const { id } = useParams();
  return id ? <Again id={id} /> : <Editor title={t('plans.add')} />;
}

function Again({ id }: { id: string }) {
  const { t } = useTranslation();
  const found = useQuery(planQuery(id));
  return (
    <Read query={found}>
      {(plan) => <Editor key={plan.id} title={t('plan.editTitle', { name: plan.name })} before={plan} reload={() => void found.refetch()} />}
    </Read>
  );
}

function Editor({ title, before, reload }: { title: string; before?: Plan; reload?: () => void }) {
  const { t } = useTranslation();
  const agents = useQuery(agentsQuery);
  const plans = useQuery(plansQuery);
  const [search] = useSearchParams();
  if (!agents.data || !plans.data) {
    const failed = agents.error ?? plans.error;
    return failed ? <FailureNote failure={asFailure(failed)} again={() => void agents.refetch()} /> : <Loading />;
  }
  const able = agents.data.filter((agent) => !agent.revoked_at);
  if (able.length === 0) {
    return (
      <Screen title={title} back={{ to: '/plans', text: t('plans.title') }}>
        <Sheet>
          <Empty title={t('machines.none')} action={<Button component={Link} to="/machines/enrol">{t('machines.add')}</Button>}>
            {t('machines.noneMore')}
          </Empty>
        </Sheet>
      </Screen>
    );
  }
  const asked = search.get('machine') ?? '';
  const first = able.find((agent) => agent.id === asked) ?? (able.length === 1 ? able[0] : undefined);
  const start = before
    ? draftOf(before)
    : { ...newDraft(first?.id ?? '', ZONE), name: first ? nameFor(first.name, plans.data.map((plan) => plan.name)) : '' };
  return <Form title={title} start={start} before={before} reload={reload} />;
}

function Form({ title, start, before, reload }: { title: string; start: PlanDraft; before?: Plan; reload?: () => void }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const queries = useQueryClient();
  const [draft, setDraft] = useState(start);
  const [tried, setTried] = useState(false);
  // The revision that the form was filled from: an edit of what changed meanwhile must not pass for an edit of the new one.
  const [revision, setRevision] = useState(before?.revision);
  const set = (change: Partial<PlanDraft>) => setDraft((now) => ({ ...now, ...change }));
  const lacks = missing(draft);
  const body = bodyOf(draft, before);
  const save = useAct(async () => {
    const made = before
      ? await ask(api.PATCH('/api/v1/plans/{id}', { params: { path: { id: before.id } }, headers: ifMatch(revision ?? 0), body }))
      : await ask(api.POST('/api/v1/plans', { body: { ...body, paused: false } }));
    queries.setQueryData(planQuery(made.id).queryKey, made);
    void queries.invalidateQueries({ queryKey: ['plans'] });
    await go(`/plans/${made.id}`);
  }, t('state.saved'));
  const isChanged = save.failure?.code === 'changed';
  const field = { draft, set, lacks: tried ? lacks : [] };
  return (
    <Screen title={title} lead={before ? undefined : t('plan.newLead')} back={before ? { to: `/plans/${before.id}`, text: before.name } : { to: '/plans', text: t('plans.title') }}>
      <form
        className="columns two"
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (lacks.length === 0) void save.run();
        }}
      >
        <div className="stack">
          <Sheet title={t('plan.what')}>
            <div className="stack">
              <MachineField {...field} isFixed={Boolean(before)} />
              {draft.agentId && <DisksField {...field} />}
            </div>
          </Sheet>
          <Sheet title={t('plans.when')}>
            <WhenField {...field} />
          </Sheet>
          <Sheet title={t('plan.keep')}>
            <div className="stack wide">
              <KeepField {...field} />
              <Preview draft={draft} plan={before} />
            </div>
          </Sheet>
          <Sheet title={t('plan.more')}>
            <MoreFields {...field} />
          </Sheet>
        </div>
        <div className={classes.side}>
          <Sheet title={t('plan.summary')}>
            <div className="stack">
              <Summary draft={draft} />
              <TextInput
                label={t('plan.name')}
                description={t('plan.nameMore')}
                value={draft.name}
                onChange={(event) => set({ name: event.currentTarget.value })}
                error={field.lacks.includes('name') && t('plan.lacks_name')}
                maxLength={64}
              />
              {tried && lacks.length > 0 && (
                <Note title={t('plan.lacks')} isUrgent>
                  <ul>
                    {lacks.map((one) => (
                      <li key={one}>{t(`plan.lacks_${one}`)}</li>
                    ))}
                  </ul>
                </Note>
              )}
              {save.failure && !isChanged && <FailureNote failure={save.failure} />}
              {isChanged && (
                <Note title={t('plan.changed')} isUrgent>
                  <div className="stack tight">
                    <p>{t('plan.changedMore')}</p>
                    <div className="row">
                      <Button
                        size="xs"
                        variant="default"
                        onClick={() => {
                          save.forget();
                          void queries.fetchQuery({ ...planQuery(before?.id ?? ''), staleTime: 0 }).then((newer) => {
                            setDraft(draftOf(newer));
                            setRevision(newer.revision);
                          });
                        }}
                      >
                        {t('plan.takeTheirs')}
                      </Button>
                      <Button
                        size="xs"
                        variant="default"
                        onClick={() => {
                          save.forget();
                          void queries.fetchQuery({ ...planQuery(before?.id ?? ''), staleTime: 0 }).then((newer) => {
                            setRevision(newer.revision);
                            reload?.();
                          });
                        }}
                      >
                        {t('plan.keepMine')}
                      </Button>
                    </div>
                  </div>
                </Note>
              )}
              <div className="row">
                <Button type="submit" loading={save.isBusy}>
                  {before ? t('state.save') : t('plan.make')}
                </Button>
                <Commands
                  of={t('plan.make')}
                  call={before ? { method: 'PATCH', path: `/api/v1/plans/${before.id}`, body, ifMatch: revision } : { method: 'POST', path: '/api/v1/plans', body }}
                />
              </div>
            </div>
          </Sheet>
        </div>
      </form>
    </Screen>
  );
}

function Summary({ draft }: { draft: PlanDraft }) {
  const { t, i18n } = useTranslation();
  const agents = useQuery(agentsQuery);
  const [when, keep] = [useRhythmWords(), useKeepWords()];
  const cron = cronOf(draft.rhythm);
  const [after, setAfter] = useState(() => new Date());
  useEffect(() => setAfter(new Date()), [cron, draft.zone]);
  const next = runs(cron, draft.zone, after, 3);
  const machine = agents.data?.find((agent) => agent.id === draft.agentId)?.name ?? '…';
  const disks = draft.allDisks ? small(t('plan.allDisks')) : draft.paths.length > 0 ? draft.paths.join(', ') : '…';
  return (
    <div className="stack tight">
      <p className={classes.summary}>
        {t('plan.sentence', { machine, disks })} {when(cron, draft.zone)}. {keep(draft.keep)}.
      </p>
      {next.length > 0 && (
        <div className="faint">
          {t('plan.nextRuns')}
          <ul>
            {next.map((at) => (
              <li key={at.getTime()} className="numbers">
                {moment(at, i18n.language)}
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

/** For the middle of a sentence. */
function small(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** The simulator, with sizes where earlier backups of the plan say something about them. */
function Preview({ draft, plan }: { draft: PlanDraft; plan?: Plan }) {
  const { t } = useTranslation();
  const earlier = useQuery({ ...jobsQuery({ plan_id: plan?.id, state: 'succeeded', limit: 100 }), enabled: Boolean(plan) });
  const stored = (earlier.data?.items ?? []).flatMap((job) => madePoint(job)?.stored_bytes ?? []);
  // The newest come first; the largest stands for what a first one costs, the others for what comes on top.
  const further = stored.slice(0, -1);
  const sizes =
    stored.length >= 3
      ? { first: Math.max(...stored), further: further.reduce((a, b) => a + b, 0) / further.length, from: stored.length }
      : undefined;
  return (
    <div className="stack tight">
      <h3 className={classes.heading}>{t('simulator.title')}</h3>
      <Simulator cron={cronOf(draft.rhythm)} zone={draft.zone} keep={draft.keep} sizes={sizes} />
      {!sizes && <p className="faint">{t('simulator.noSizes')}</p>}
    </div>
  );
}
