// One file of a recovery point: what it is, a look into text and pictures, and the download. What is shown is never run: text is text,
// a picture is decoded and drawn.
import { Button } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { Schemas } from '../api/client';
import { asFailure, Failure } from '../api/failure';
import { asText, imageType, isPlain, MAX_IMAGE_BYTES, MAX_TEXT_BYTES, restoreUrl } from '../logic/filePath';
import { quoted } from '../logic/commands';
import { short } from '../logic/pointState';
import { bytes, moment } from '../logic/units';
import type { Place } from '../screens/Files';
import { Commands } from './Commands';
import FileVersions from './FileVersions';
import { Facts, Sheet } from './Screen';
import { FailureNote, Loading } from './states';
import classes from './FilePreview.module.css';

interface FilePreviewProps {
  place: Place;
  path: string;
  /** What is known of it; nothing before the directory was loaded up to it. */
  entry: Schemas['FileEntry'] | undefined;
  close: () => void;
}

export default function FilePreview({ place, path, entry, close }: FilePreviewProps) {
  const { t, i18n } = useTranslation();
  const query = new URLSearchParams({ path, ...(place.disk ? { disk: place.disk } : {}), ...(place.partition ? { partition: String(place.partition) } : {}) });
  const url = `/api/v1/recovery-points/${place.point}/content?${query}`;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const [showsVersions, setShowsVersions] = useState(false);
  const partition = place.partition ? ` --partition ${place.partition}` : '';
  return (
    <Sheet title={name} actions={<Button variant="subtle" size="compact-sm" onClick={close}>{t('state.close')}</Button>}>
      <div className="stack">
        {entry && (
          <Facts
            items={[
              [t('points.size'), bytes(entry.size_bytes, i18n.language)],
              [t('files.modified'), entry.modified_at ? moment(new Date(entry.modified_at), i18n.language) : '–'],
              [t('files.owner'), `${entry.uid}:${entry.gid}`],
              [t('files.mode'), <span key="m" className="mono">{entry.mode}</span>],
            ]}
          />
        )}
        <div className="row">
          <Button component="a" href={url} download={name} leftSection={<IconDownload size={17} />}>
            {t('files.download')}
          </Button>
          {isPlain(path) && (
            <Button component={Link} to={restoreUrl(place, [path])} variant="default">
              {t('files.restoreFile')}
            </Button>
          )}
          <Commands of={t('files.download')} cli={`icecore restore ${short(place.point)}${partition} --files ${quoted(path)} --to ./restored`} call={{ method: 'GET', path: url }} />
        </div>
        <Look url={url} name={name} />
        <section>
          <Button variant="subtle" size="compact-sm" aria-expanded={showsVersions} onClick={() => setShowsVersions(!showsVersions)}>
            {t('files.versions')}
          </Button>
          {showsVersions && <FileVersions place={place} path={path} />}
        </section>
      </div>
    </Sheet>
  );
}

type Seen = { text: string; isCut: boolean } | { picture: ImageBitmap } | 'none';

/** The first bytes of it, and whether that was all. */
async function begin(url: string, most: number, signal: AbortSignal): Promise<{ bytes: Uint8Array<ArrayBuffer>; isWhole: boolean }> {
  const answer = await fetch(url, { signal, credentials: 'same-origin', cache: 'no-store' });
  if (!answer.ok) throw Failure.of(await answer.json().catch(() => undefined), answer.status);
  const length = Number(answer.headers.get('content-length'));
  const wanted = Math.min(length, most);
  const bytes = new Uint8Array(wanted);
  let at = 0;
  const reader = answer.body?.getReader();
  while (reader && at < wanted) {
    const { value, done } = await reader.read();
    if (done) break;
    bytes.set(value.subarray(0, wanted - at), at);
    at += Math.min(value.length, wanted - at);
  }
  // The rest is not wanted.
  await reader?.cancel();
  return { bytes: bytes.subarray(0, at), isWhole: at === length };
}

async function look(url: string, name: string, signal: AbortSignal): Promise<Seen> {
  const type = imageType(name);
  const { bytes, isWhole } = await begin(url, type ? MAX_IMAGE_BYTES : MAX_TEXT_BYTES, signal);
  if (type) {
    if (!isWhole) return 'none';
    return createImageBitmap(new Blob([bytes], { type })).then((picture): Seen => ({ picture }), (): Seen => 'none');
  }
  const text = asText(bytes, isWhole);
  return text === undefined ? 'none' : { text, isCut: !isWhole };
}

function Look({ url, name }: { url: string; name: string }) {
  const { t, i18n } = useTranslation();
  const [seen, setSeen] = useState<Seen>();
  const [failure, setFailure] = useState<Failure>();
  useEffect(() => {
    const stop = new AbortController();
    look(url, name, stop.signal).then(setSeen, (error: unknown) => {
      if (!stop.signal.aborted) setFailure(asFailure(error));
    });
    return () => stop.abort();
  }, [url, name]);
  if (failure) return <FailureNote failure={failure} />;
  if (!seen) return <Loading />;
  if (seen === 'none') return <p className="soft">{t('files.noPreview')}</p>;
  if ('picture' in seen) return <Picture picture={seen.picture} name={name} />;
  if (seen.text === '') return <p className="soft">{t('files.emptyFile')}</p>;
  return (
    <>
      <pre className={classes.text} tabIndex={0} aria-label={name}>
        {seen.text}
      </pre>
      {seen.isCut && <p className="faint">{t('files.cut', { size: bytes(MAX_TEXT_BYTES, i18n.language) })}</p>}
    </>
  );
}

function Picture({ picture, name }: { picture: ImageBitmap; name: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (!canvas.current) return;
    canvas.current.width = picture.width;
    canvas.current.height = picture.height;
    canvas.current.getContext('2d')?.drawImage(picture, 0, 0);
  }, [picture]);
  return <canvas ref={canvas} className={classes.picture} role="img" aria-label={name} />;
}
