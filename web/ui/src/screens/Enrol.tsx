// How a machine becomes one that stores here: one line to run on it, and the page that notices when it came.
import { Button, Select, TextInput } from '@mantine/core';
import { IconCheck } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { api, ask, type Schemas } from '../api/client';
import { enrolments as enrolmentsQuery, repositories as repositoriesQuery, type Enrolment } from '../api/queries';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { CopyLine } from '../parts/CopyLine';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';
import classes from './Enrol.module.css';

export default function Enrol() {
  const { t } = useTranslation();
  const repositories = useQuery(repositoriesQuery);
  const [made, setMade] = useState<Schemas['CreatedEnrolment']>();
  return (
    <Screen title={t('enrol.title')} lead={t('enrol.lead')} back={{ to: '/machines', text: t('machines.title') }}>
      <Read query={repositories}>
        {(kept) =>
          kept.length === 0 ? (
            <Sheet>
              <Empty title={t('enrol.noRepository')} action={<Button component={Link} to="/repositories?add">{t('repositories.add')}</Button>}>
                {t('enrol.noRepositoryMore')}
              </Empty>
            </Sheet>
          ) : made ? (
            <Waiting made={made} again={() => setMade(undefined)} />
          ) : (
            <Ask names={kept.map((repository) => repository.name)} done={setMade} />
          )
        }
      </Read>
    </Screen>
  );
}

function Ask({ names, done }: { names: string[]; done: (made: Schemas['CreatedEnrolment']) => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [repository, setRepository] = useState(names[0] ?? '');
  const [name, setName] = useState('');
  const body = { repository, ...(name.trim() ? { name: name.trim() } : {}) };
  const make = useAct(async () => {
    done(await ask(api.POST('/api/v1/enrolments', { body })));
    void queries.invalidateQueries({ queryKey: ['enrolments'] });
  });
  return (
    <Sheet title={t('enrol.who')}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void make.run();
        }}
      >
        <div className={classes.fields}>
          <Select label={t('enrol.repository')} data={names} value={repository} onChange={(value) => value && setRepository(value)} allowDeselect={false} />
          <TextInput label={t('enrol.name')} description={t('enrol.nameMore')} value={name} onChange={(event) => setName(event.currentTarget.value)} maxLength={64} />
        </div>
        {make.failure && <FailureNote failure={make.failure} />}
        <div className="row">
          <Button type="submit" loading={make.isBusy}>
            {t('enrol.make')}
          </Button>
          <Commands of={t('enrol.make')} call={{ method: 'POST', path: '/api/v1/enrolments', body }} />
        </div>
      </form>
    </Sheet>
  );
}

function Waiting({ made, again }: { made: Schemas['CreatedEnrolment']; again: () => void }) {
  const { t } = useTranslation();
  const all = useQuery(enrolmentsQuery);
  const now: Enrolment = all.data?.find((one) => one.id === made.enrolment.id) ?? made.enrolment;
  const isLocal = window.location.protocol === 'http:';
  const keyCommand = `icecore --repo ${window.location.origin}/${now.repository} key writer-export --for ${now.id}`;
  return (
    <div className="stack">
      <Sheet title={t('enrol.run')}>
        <div className="stack">
          <p className="soft">{t('enrol.runMore')}</p>
          {made.command && <CopyLine text={made.command} />}
          {isLocal && <p className="faint">{t('enrol.local')}</p>}
          <p className="faint">
            {t('enrol.until')} <When at={now.expires_at} exact />
          </p>
        </div>
      </Sheet>
      <Sheet title={t('enrol.wait')}>
        <ol className={classes.way} aria-live="polite">
          <Stop isDone={now.state !== 'open'} isNow={now.state === 'open'} title={t('enrol.comes')} />
          <Stop isDone={now.state === 'done'} isNow={now.state === 'waiting'} title={t('enrol.key')}>
            {now.state === 'waiting' && (
              <div className="stack tight">
                <p className="soft small">{t('enrol.keyMore')}</p>
                <CopyLine text={keyCommand} />
              </div>
            )}
          </Stop>
          <Stop isDone={now.state === 'done'} isNow={false} title={now.agent ? t('enrol.done', { name: now.agent.name }) : t('enrol.ready')}>
            {now.agent && (
              <div className="row">
                <Button component={Link} to={`/plans/new?machine=${now.agent.id}`}>
                  {t('enrol.plan')}
                </Button>
                <Button component={Link} to={`/machines/${now.agent.id}`} variant="default">
                  {t('enrol.look')}
                </Button>
              </div>
            )}
          </Stop>
        </ol>
        {now.state === 'ended' && <p className="soft">{t('enrol.ended')}</p>}
        <Button variant="subtle" size="compact-sm" onClick={again}>
          {t('enrol.another')}
        </Button>
      </Sheet>
    </div>
  );
}

function Stop({ isDone, isNow, title, children }: { isDone: boolean; isNow: boolean; title: string; children?: React.ReactNode }) {
  return (
    <li className={classes.stop} data-done={isDone || undefined} data-now={isNow || undefined}>
      <span className={classes.dot} aria-hidden="true">
        {isDone && <IconCheck size={14} stroke={2.6} />}
      </span>
      <div className="grow stack tight">
        <p className={classes.stopTitle}>{title}</p>
        {children}
      </div>
    </li>
  );
}
