// The repositories that this server keeps, and whether their recovery kits are safe.
import { Button, Modal, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { api, ask } from '../api/client';
import { agents as agentsQuery, repositories as repositoriesQuery, type Repository } from '../api/queries';
import { useMay } from '../app/session';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { CopyLine } from '../parts/CopyLine';
import { Note } from '../parts/Note';
import { Facts, Screen, Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { Empty, FailureNote, Read } from '../parts/states';
import { When } from '../parts/When';

export default function Repositories() {
  const { t } = useTranslation();
  const repositories = useQuery(repositoriesQuery);
  const may = useMay('agents');
  const [search, setSearch] = useSearchParams();
  const open = (isOpen: boolean) => setSearch(isOpen ? { add: '' } : {}, { replace: true });
  const add = may && <Button onClick={() => open(true)}>{t('repositories.add')}</Button>;
  return (
    <Screen title={t('repositories.title')} lead={t('repositories.lead')} actions={add}>
      <Read query={repositories}>
        {(all) =>
          all.length === 0 ? (
            <Sheet>
              <Empty title={t('repositories.none')} action={add}>
                {t('repositories.noneMore')}
              </Empty>
            </Sheet>
          ) : (
            all.map((repository) => <One key={repository.id} repository={repository} />)
          )
        }
      </Read>
      {may && search.has('add') && <Add close={() => open(false)} />}
    </Screen>
  );
}

function One({ repository }: { repository: Repository }) {
  const { t } = useTranslation();
  const agents = useQuery(agentsQuery);
  const machines = (agents.data ?? []).filter((agent) => agent.repository === repository.name && !agent.revoked_at);
  return (
    <Sheet
      title={repository.name}
      actions={repository.kit_confirmed_at ? <State tone="good">{t('kit.safe')}</State> : <State tone="bad">{t('kit.unsafe')}</State>}
    >
      <div className="stack wide">
        <Facts
          items={[
            [t('repositories.directory'), <span key="d" className="mono">{repository.directory}</span>],
            [t('repositories.machines'), machines.length],
            [t('keeping.keeper'), repository.keeper ?? t('keeping.nobody')],
            [t('repositories.added'), <When key="a" at={repository.created_at} />],
            [t('repositories.id'), <span key="i" className="mono">{repository.format_id.slice(0, 8)}…</span>],
            [t('repositories.url'), <span key="u" className="mono">{`${window.location.origin}/${repository.name}`}</span>],
          ]}
        />
        <Kit repository={repository} />
        <Keeping repository={repository} />
      </div>
    </Sheet>
  );
}

/** Who has the repository's key and looks after it; without one, how to make one. */
function Keeping({ repository }: { repository: Repository }) {
  const { t } = useTranslation();
  const go = useNavigate();
  const may = useMay('operate');
  const params = { params: { path: { repository: repository.name } } };
  const path = `/api/v1/repositories/${repository.name}`;
  const check = useAct(async () => {
    const job = await ask(api.POST('/api/v1/repositories/{repository}/check', { ...params, body: { read_data: false } }));
    await go(`/jobs/${job.id}`);
  });
  const prune = useAct(async () => {
    const job = await ask(api.POST('/api/v1/repositories/{repository}/prune', { ...params, body: { dry_run: true } }));
    await go(`/jobs/${job.id}`);
  });
  if (!repository.keeper) {
    return (
      <Note title={t('keeping.none')}>
        <p>{t('keeping.noneMore')}</p>
        <CopyLine text={`icecore-server admin enroll-keeper ${repository.name}`} />
        <p className="faint">{t('repositories.maintain')}</p>
        <CopyLine text={`icecore --repo ${repository.directory} check\nicecore --repo ${repository.directory} prune`} />
      </Note>
    );
  }
  const failure = check.failure ?? prune.failure;
  return (
    <div className="stack tight">
      <p className="soft">{t('keeping.byItself')}</p>
      {failure && <FailureNote failure={failure} />}
      <div className="row">
        {may && (
          <>
            <Button variant="default" size="xs" onClick={() => void check.run()} loading={check.isBusy}>
              {t('keeping.check')}
            </Button>
            <Button variant="default" size="xs" onClick={() => void prune.run()} loading={prune.isBusy}>
              {t('keeping.prune')}
            </Button>
          </>
        )}
        <Commands of={t('keeping.check')} cli={`icecore --repo ${repository.directory} check`} call={{ method: 'POST', path: `${path}/check`, body: {} }} />
        <Link to="/jobs?kind=verify">{t('keeping.verifications')}</Link>
        <Link to={`/points?repository=${repository.name}`}>{t('points.title')}</Link>
      </div>
    </div>
  );
}

/** The recovery kit: made by who has the passphrase, confirmed by who has it printed before them. */
function Kit({ repository }: { repository: Repository }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const may = useMay('agents');
  const [digits, setDigits] = useState('');
  const call = { method: 'POST' as const, path: `/api/v1/repositories/${repository.name}/recovery-kit` };
  const confirm = useAct(async () => {
    await ask(api.POST('/api/v1/repositories/{repository}/recovery-kit', { params: { path: { repository: repository.name } }, body: { digits } }));
    await queries.invalidateQueries({ queryKey: ['repositories'] });
    setDigits('');
  }, t('kit.confirmed'));
  if (repository.kit_confirmed_at) {
    return (
      <p className="soft">
        {t('kit.confirmedBy', { name: repository.kit_confirmed_by })} <When at={repository.kit_confirmed_at} exact />
      </p>
    );
  }
  return (
    <div className="stack">
      <div>
        <h3 style={{ fontSize: 15 }}>{t('kit.title')}</h3>
        <p className="soft">{t('kit.more')}</p>
      </div>
      <CopyLine text={`icecore --repo ${repository.directory} key recovery-export --out recovery-kit.txt`} />
      {may && (
        <form
          className="stack tight"
          onSubmit={(event) => {
            event.preventDefault();
            void confirm.run();
          }}
        >
          <TextInput label={t('kit.digits')} description={t('kit.digitsMore')} value={digits} onChange={(event) => setDigits(event.currentTarget.value)} maxLength={32} maw={380} autoComplete="off" spellCheck={false} />
          {confirm.failure && <FailureNote failure={confirm.failure} />}
          <div className="row">
            <Button type="submit" loading={confirm.isBusy} disabled={digits.trim().length < 6}>
              {t('kit.confirm')}
            </Button>
            <Commands of={t('kit.confirm')} call={{ ...call, body: { digits: digits || '…' } }} />
          </div>
        </form>
      )}
    </div>
  );
}

function Add({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [name, setName] = useState('main');
  const [directory, setDirectory] = useState('/srv/icecore');
  const body = { name: name.trim(), directory: directory.trim() };
  const add = useAct(async () => {
    await ask(api.POST('/api/v1/repositories', { body }));
    await queries.invalidateQueries({ queryKey: ['repositories'] });
  }, t('repositories.wasAdded'));
  return (
    <Modal opened onClose={close} size="lg" title={t('repositories.add')} closeButtonProps={{ 'aria-label': t('state.close') }}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void add.run().then((done) => done && close());
        }}
      >
        <TextInput label={t('repositories.directory')} description={t('repositories.directoryMore')} value={directory} onChange={(event) => setDirectory(event.currentTarget.value)} required data-autofocus />
        <div className="stack tight">
          <p className="soft small">{t('repositories.init')}</p>
          <CopyLine text={`icecore --repo ${directory.trim() || '/srv/icecore'} init`} />
        </div>
        <TextInput label={t('repositories.name')} description={t('repositories.nameMore')} value={name} onChange={(event) => setName(event.currentTarget.value)} required maxLength={63} />
        {add.failure && <FailureNote failure={add.failure} />}
        <div className="row">
          <Button type="submit" loading={add.isBusy}>
            {t('repositories.addIt')}
          </Button>
          <Commands of={t('repositories.add')} call={{ method: 'POST', path: '/api/v1/repositories', body }} />
        </div>
      </form>
    </Modal>
  );
}
