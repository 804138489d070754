// Files by name through all recovery points of a machine's disks: the box, and what was found. What is searched for is in the URL.
import { Button, TextInput } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { IconSearch } from '@tabler/icons-react';
import { useCallback, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { api, ask, type Schemas } from '../api/client';
import { asFailure } from '../api/failure';
import { quoted } from '../logic/commands';
import { placeUrl } from '../logic/filePath';
import { bytes, moment, number } from '../logic/units';
import { Commands } from './Commands';
import { LongRows } from './LongRows';
import { Note } from './Note';
import { Sheet } from './Screen';
import { Empty, FailureNote, Loading } from './states';

const PAGE = 200;

type FoundFile = Schemas['FoundFile'];

/** The box. Submitting it puts what is searched for into the URL; emptying it goes back to the directory. */
export function SearchBox() {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const [text, setText] = useState(search.get('find') ?? '');
  const submit = () => {
    const next = new URLSearchParams(search);
    next.delete('show');
    if (text.trim()) next.set('find', text.trim());
    else next.delete('find');
    setSearch(next);
  };
  return (
    <form
      role="search"
      className="row"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <TextInput className="grow" maw={460} type="search" aria-label={t('files.search')} placeholder={t('files.searchMore')} value={text} maxLength={256} onChange={(event) => setText(event.currentTarget.value)} />
      <Button type="submit" variant="default" leftSection={<IconSearch size={16} aria-hidden="true" />}>
        {t('files.find')}
      </Button>
    </form>
  );
}

/** What was found, in the order of the paths. */
export function FoundFiles({ id, name }: { id: string; name: string }) {
  const { t, i18n } = useTranslation();
  const found = useInfiniteQuery({
    queryKey: ['search', id, name],
    queryFn: ({ pageParam }) => ask(api.GET('/api/v1/recovery-points/{id}/search', { params: { path: { id }, query: { name, limit: PAGE, cursor: pageParam } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = found;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const first = found.data?.pages[0];
  return (
    <>
      <div className="row apart">
        <h2>{t('files.foundOf', { name })}</h2>
        <Commands of={t('files.search')} cli={`icecore search ${quoted(name)}`} call={{ method: 'GET', path: `/api/v1/recovery-points/${id}/search?${new URLSearchParams({ name })}` }} />
      </div>
      {first && first.points_missing > 0 && <Note title={t('files.missing', { count: first.points_missing, text: number(first.points_missing, i18n.language) })}>{t('files.missingMore')}</Note>}
      <Sheet isFlush={items.length > 0}>
        {found.isPending && <Loading />}
        {found.isError && <FailureNote failure={asFailure(found.error)} again={() => void found.refetch()} />}
        {found.isSuccess && items.length === 0 && !hasNextPage && <Empty title={t('files.foundNone')} />}
        {found.isSuccess && hasNextPage && (
          <div className="row">
            <Button variant="subtle" size="compact-sm" loading={isFetchingNextPage} onClick={more}>
              {t('files.foundMore')}
            </Button>
          </div>
        )}
        {items.length > 0 && (
          <LongRows
            label={t('files.search')}
            items={items}
            rowKey={(file) => `${file.disk} ${file.partition ?? ''} ${file.path}`}
            hasMore={hasNextPage}
            loadMore={more}
            columns={[
              { name: t('files.path'), track: '2.4fr', cell: (file: FoundFile) => <FoundPath file={file} /> },
              { name: t('points.size'), track: '0.7fr', isNumber: true, isMark: true, cell: (file: FoundFile) => (file.newest.kind === 'regular' ? bytes(file.newest.size_bytes, i18n.language) : '') },
              { name: t('files.modified'), track: '1.1fr', cell: (file: FoundFile) => (file.newest.modified_at ? moment(new Date(file.newest.modified_at), i18n.language) : '–') },
              { name: t('files.versions'), track: '0.6fr', isNumber: true, isWideOnly: true, cell: (file: FoundFile) => number(file.versions, i18n.language) },
              { name: t('files.inPoints'), track: '0.7fr', isNumber: true, isWideOnly: true, cell: (file: FoundFile) => number(file.points, i18n.language) },
            ]}
          />
        )}
      </Sheet>
    </>
  );
}

/** Leads to it in the newest recovery point that has it. */
function FoundPath({ file }: { file: FoundFile }) {
  const place = { point: file.newest.last.id, disk: file.disk, partition: file.partition ?? undefined };
  return <Link to={placeUrl(place, file.path, file.newest.kind ?? undefined)}>{file.path}</Link>;
}
