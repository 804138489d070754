// What one file was through all recovery points of its machine's disks.
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { api, ask, type Schemas } from '../api/client';
import { placeUrl } from '../logic/filePath';
import { quoted } from '../logic/commands';
import { bytes, moment, number } from '../logic/units';
import type { Place } from '../screens/Files';
import { Commands } from './Commands';
import { Rows } from './Rows';
import { Empty, Read } from './states';

type Version = Schemas['FileVersion'];

export default function FileVersions({ place, path }: { place: Place; path: string }) {
  const { t, i18n } = useTranslation();
  const query = { path, disk: place.disk, partition: place.partition };
  const found = useQuery({
    queryKey: ['versions', place, path],
    queryFn: () => ask(api.GET('/api/v1/recovery-points/{id}/versions', { params: { path: { id: place.point }, query } })),
  });
  const partition = place.partition ? ` --partition ${place.partition}` : '';
  const call = { method: 'GET' as const, path: `/api/v1/recovery-points/${place.point}/versions?${new URLSearchParams({ path, ...(place.disk ? { disk: place.disk } : {}), ...(place.partition ? { partition: String(place.partition) } : {}) })}` };
  return (
    <Read query={found}>
      {(versions) => (
        <div className="stack">
          {versions.items.length === 0 && <Empty title={t('files.versionsNone')} />}
          {versions.items.length > 0 && (
            <Rows
              label={t('files.versions')}
              items={versions.items}
              rowKey={(version) => version.last.id}
              columns={[
                { name: t('files.modified'), cell: (version: Version) => <VersionLink place={place} path={path} version={version} /> },
                { name: t('points.size'), isNumber: true, cell: (version: Version) => bytes(version.size_bytes, i18n.language) },
                { name: t('files.inPoints'), isNumber: true, cell: (version: Version) => number(version.points, i18n.language) },
                { name: t('files.newestPoint'), cell: (version: Version) => moment(new Date(version.last.made_at), i18n.language) },
              ]}
            />
          )}
          {versions.points_missing > 0 && <p className="faint">{t('files.missing', { count: versions.points_missing, text: number(versions.points_missing, i18n.language) })}</p>}
          <Commands of={t('files.versions')} cli={`icecore versions ${quoted(path)}${partition}`} call={call} />
        </div>
      )}
    </Read>
  );
}

/** Leads to the file in the newest recovery point that has it like that. */
function VersionLink({ place, path, version }: { place: Place; path: string; version: Version }) {
  const { i18n } = useTranslation();
  const text = version.modified_at ? moment(new Date(version.modified_at), i18n.language) : '–';
  return <Link to={placeUrl({ ...place, point: version.last.id }, path, version.kind ?? undefined)}>{text}</Link>;
}
