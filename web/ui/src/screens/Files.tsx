// The files inside a recovery point: which file system, which directory and which file is in the URL.
import { Anchor, Button, Checkbox, Select } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { IconDownload, IconFile, IconFolder, IconLink } from '@tabler/icons-react';
import { lazy, Suspense, useCallback, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams, useSearchParams } from 'react-router';
import { api, ask, type Schemas } from '../api/client';
import { asFailure } from '../api/failure';
import { point as pointQuery } from '../api/queries';
import { useMay } from '../app/session';
import { archiveUrl, crumbs, isPlain, joined, restoreUrl } from '../logic/filePath';
import { short } from '../logic/pointState';
import { quoted } from '../logic/commands';
import { bytes, moment, number } from '../logic/units';
import { Commands } from '../parts/Commands';
import { FoundFiles, SearchBox } from '../parts/FileSearch';
import { LongRows } from '../parts/LongRows';
import { Note } from '../parts/Note';
import { usePointName } from '../parts/PointLink';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, FailureNote, Loading, Read } from '../parts/states';
import classes from './Files.module.css';

const FilePreview = lazy(() => import('../parts/FilePreview'));
const PAGE = 500;

type Entry = Schemas['FileEntry'];

export interface Place {
  point: string;
  disk: string | undefined;
  partition: number | undefined;
}

export default function Files() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const found = useQuery(pointQuery(id));
  const may = useMay('restore');
  const name = usePointName();
  return (
    <Screen title={t('files.title')} lead={found.data && name(found.data)} back={{ to: `/points/${id}`, text: t('plan.point') }}>
      {may ? <Volumes id={id} /> : <Note title={t('files.mayNot')}>{t('restore.mayNotMore')}</Note>}
    </Screen>
  );
}

/** Which file system: the one that the keeper says is meant is opened by itself. */
function Volumes({ id }: { id: string }) {
  const { t, i18n } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const found = useQuery({ queryKey: ['volumes', id], queryFn: () => ask(api.GET('/api/v1/recovery-points/{id}/volumes', { params: { path: { id } } })), staleTime: Infinity });
  return (
    <Read query={found}>
      {(disks) => {
        const all = disks.flatMap((disk) => disk.volumes.map((volume) => ({ disk: disk.disk, volume, key: `${disk.disk} ${volume.partition ?? ''}` })));
        const readable = all.filter((one) => one.volume.readable);
        const asked = `${search.get('disk') ?? ''} ${search.get('partition') ?? ''}`;
        const chosen = all.find((one) => one.key === asked) ?? all.find((one) => one.volume.is_default);
        const choose = (key: string | null) => {
          const one = all.find((other) => other.key === key);
          if (one) setSearch({ disk: one.disk, ...(one.volume.partition ? { partition: String(one.volume.partition) } : {}) });
        };
        const label = ({ disk, volume }: (typeof all)[number]) =>
          [disk, volume.partition && `#${volume.partition}`, volume.name ?? volume.label, volume.holds ?? t('files.unknown'), bytes(volume.size_bytes, i18n.language)].filter(Boolean).join(' · ');
        const find = search.get('find');
        return (
          <>
            {readable.length > 0 && <SearchBox key={find} />}
            {find && <FoundFiles id={id} name={find} />}
            {!find && all.length > 1 && (
              <Select label={t('files.volume')} placeholder={t('files.choose')} data={all.map((one) => ({ value: one.key, label: label(one), disabled: !one.volume.readable }))} value={chosen?.key ?? null} onChange={choose} maw={620} allowDeselect={false} />
            )}
            {readable.length === 0 && <NotReadable id={id} held={all.map((one) => one.volume.holds ?? t('files.unknown'))} />}
            {!find && chosen && chosen.volume.readable && <Directory place={{ point: id, disk: chosen.disk, partition: chosen.volume.partition ?? undefined }} onDisk={disks.length > 1 ? ` --disk ${quoted(chosen.disk)}` : ''} />}
          </>
        );
      }}
    </Read>
  );
}

function NotReadable({ id, held }: { id: string; held: string[] }) {
  const { t } = useTranslation();
  return (
    <Sheet>
      <Empty title={t('files.notYet', { held: [...new Set(held)].join(', ') })} action={<Commands of={t('files.mount')} cli={`icecore mount ${short(id)} /mnt/point`} />}>
        {t('files.notYetMore')}
      </Empty>
    </Sheet>
  );
}

/** `onDisk` names the disk on the command line, where there are several. A logical volume is named as a disk is. */
function Directory({ place, onDisk }: { place: Place; onDisk: string }) {
  const { t, i18n } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const path = search.get('path') ?? '/';
  const shown = search.get('show');
  const query = { disk: place.disk, partition: place.partition, path };
  const found = useInfiniteQuery({
    queryKey: ['files', place, path],
    queryFn: ({ pageParam }) => ask(api.GET('/api/v1/recovery-points/{id}/files', { params: { path: { id: place.point }, query: { ...query, limit: PAGE, cursor: pageParam } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    // A point never changes.
    staleTime: Infinity,
  });
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = found;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);
  /** The URL of a directory, or of a file of this one. */
  const to = (part: { path?: string; show?: string }) => {
    const next = new URLSearchParams();
    if (place.disk) next.set('disk', place.disk);
    if (place.partition) next.set('partition', String(place.partition));
    const at = part.path ?? path;
    if (at !== '/') next.set('path', at);
    if (part.show) next.set('show', part.show);
    return `?${next}`;
  };
  // What was chosen in another directory is not chosen in this one.
  const [choice, setChoice] = useState<{ path: string; names: string[] }>({ path, names: [] });
  const chosen = choice.path === path ? choice.names : [];
  const choose = (name: string, isChosen: boolean) => setChoice({ path, names: isChosen ? [...chosen, name] : chosen.filter((one) => one !== name) });
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const first = found.data?.pages[0];
  const partition = place.partition ? `:${place.partition}` : '';
  const close = () => setSearch(new URLSearchParams(to({})), { replace: true });
  return (
    <>
      <div className="row apart">
        <Crumbs path={path} to={(at) => to({ path: at })} />
        <span className="row tight">
          <Archives place={place} path={path} onDisk={onDisk} />
          {isPlain(path) && (
            <Button component={Link} variant={chosen.length > 0 ? 'filled' : 'default'} size="xs" to={restoreUrl(place, chosen.length > 0 ? chosen.map((name) => joined(path, name)) : [path])}>
              {chosen.length > 0 ? t('files.restoreChosen', { count: chosen.length }) : t('files.restore')}
            </Button>
          )}
          <Commands of={t('files.title')} cli={`icecore ls ${short(place.point)}${partition} ${quoted(path)}${onDisk}`} call={{ method: 'GET', path: `/api/v1/recovery-points/${place.point}/files?${new URLSearchParams({ path, ...(place.disk ? { disk: place.disk } : {}), ...(place.partition ? { partition: String(place.partition) } : {}) })}` }} />
        </span>
      </div>
      {first && first.notes.length > 0 && (
        <Note title={t('files.state', { name: first.file_system })}>
          <ul>
            {first.notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        </Note>
      )}
      <div className={shown ? 'columns halves' : 'columns'}>
        <Sheet isFlush={items.length > 0}>
          {found.isPending && <Loading />}
          {found.isError && <FailureNote failure={asFailure(found.error)} again={() => void found.refetch()} />}
          {found.isSuccess && items.length === 0 && <Empty title={t('files.empty')} />}
          {items.length > 0 && (
            <LongRows
              label={t('files.title')}
              items={items}
              rowKey={(entry) => entry.name}
              hasMore={hasNextPage}
              loadMore={more}
              columns={[
                {
                  name: t('restore.choose'),
                  track: '72px',
                  isWideOnly: true,
                  cell: (entry) =>
                    isPlain(path) && isPlain(entry.name) && <Checkbox aria-label={t('restore.chooseOf', { name: entry.name })} checked={chosen.includes(entry.name)} onChange={(event) => choose(entry.name, event.currentTarget.checked)} />,
                },
                { name: t('machines.name'), track: '2fr', cell: (entry) => <Name entry={entry} to={entry.kind === 'directory' ? to({ path: joined(path, entry.name) }) : entry.kind === 'regular' ? to({ show: entry.name }) : undefined} isHere={entry.name === shown} /> },
                { name: t('points.size'), track: '0.7fr', isNumber: true, isMark: true, cell: (entry) => (entry.kind === 'regular' ? bytes(entry.size_bytes, i18n.language) : '') },
                { name: t('files.modified'), track: '1.1fr', cell: (entry) => (entry.modified_at ? moment(new Date(entry.modified_at), i18n.language) : '–') },
                ...(shown
                  ? []
                  : [
                      { name: t('files.owner'), track: '0.7fr', cell: (entry: Entry) => <span className="numbers">{`${entry.uid}:${entry.gid}`}</span> },
                      { name: t('files.mode'), track: '0.9fr', isWideOnly: true, cell: (entry: Entry) => <span className="mono">{entry.mode}</span> },
                    ]),
              ]}
            />
          )}
        </Sheet>
        {shown && (
          <Suspense fallback={<Loading />}>
            <FilePreview key={joined(path, shown)} place={place} path={joined(path, shown)} entry={items.find((entry) => entry.name === shown)} close={close} />
          </Suspense>
        )}
      </div>
      {first && <p className="faint" role="status">{t('files.count', { count: first.count, text: number(first.count, i18n.language) })}</p>}
    </>
  );
}

/** The directory with everything below it, in either form. */
function Archives({ place, path, onDisk }: { place: Place; path: string; onDisk: string }) {
  const { t } = useTranslation();
  const partition = place.partition ? ` --partition ${place.partition}` : '';
  const url = (format: 'zip' | 'tar') => archiveUrl(place, path, format);
  return (
    <>
      {(['zip', 'tar'] as const).map((format) => (
        <Button key={format} component="a" href={url(format)} download variant="default" size="xs" leftSection={<IconDownload size={15} aria-hidden="true" />}>
          {t('files.downloadAs', { format })}
        </Button>
      ))}
      <Commands of={t('files.downloadAll')} cli={`icecore restore ${short(place.point)}${onDisk}${partition} --files ${quoted(path)} --to ./restored`} call={{ method: 'GET', path: url('tar') }} />
    </>
  );
}

function Name({ entry, to, isHere }: { entry: Entry; to: string | undefined; isHere: boolean }) {
  const { t } = useTranslation();
  const Icon = entry.kind === 'directory' ? IconFolder : entry.kind === 'symlink' ? IconLink : IconFile;
  return (
    <span className={classes.name}>
      <Icon size={17} stroke={1.6} aria-hidden="true" />
      {to ? <Link to={to} aria-current={isHere || undefined}>{entry.name}</Link> : <span>{entry.name}</span>}
      {entry.link_target && <span className="faint"> → {entry.link_target}</span>}
      {entry.error && <span className={classes.error} title={entry.error}>{t('files.damaged')}</span>}
    </span>
  );
}

function Crumbs({ path, to }: { path: string; to: (path: string) => string }) {
  const { t } = useTranslation();
  const parts = crumbs(path);
  return (
    <nav aria-label={t('files.path')} className={classes.crumbs}>
      <Anchor component={Link} to={to('/')} aria-current={parts.length === 0 ? 'page' : undefined}>
        {t('files.root')}
      </Anchor>
      {parts.map((crumb, at) => (
        <span key={crumb.path}>
          <span className="faint" aria-hidden="true"> / </span>
          <Anchor component={Link} to={to(crumb.path)} aria-current={at === parts.length - 1 ? 'page' : undefined}>
            {crumb.name}
          </Anchor>
        </span>
      ))}
    </nav>
  );
}
