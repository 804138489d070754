// Every operation of the API, from the server's own document, each as a line for a shell.
import { Accordion, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { openapi, type Document, type Operation } from '../api/queries';
import { curl, type ApiCall } from '../logic/commands';
import { CopyLine } from '../parts/CopyLine';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, Read } from '../parts/states';
import classes from './Explorer.module.css';

interface Listed {
  method: ApiCall['method'];
  path: string;
  operation: Operation;
}

function listed(document: Document, wanted: string): Map<string, Listed[]> {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map<string, Listed[]>();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const text = `${method} ${path} ${operation.summary ?? ''} ${operation['x-icecore-need'] ?? ''}`.toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
      const tag = operation.tags?.[0] ?? '';
      groups.set(tag, [...(groups.get(tag) ?? []), { method: method.toUpperCase() as ApiCall['method'], path, operation }]);
    }
  }
  return groups;
}

export default function Explorer() {
  const { t } = useTranslation();
  const document = useQuery(openapi);
  const [search, setSearch] = useSearchParams();
  const wanted = search.get('q') ?? '';
  return (
    <Screen title={t('explorer.title')} lead={t('explorer.lead')}>
      <TextInput aria-label={t('explorer.search')} placeholder={t('explorer.search')} value={wanted} onChange={(event) => setSearch(event.currentTarget.value ? { q: event.currentTarget.value } : {}, { replace: true })} maw={420} />
      <Read query={document}>
        {(found) => {
          const groups = listed(found, wanted);
          if (groups.size === 0) return <Empty title={t('explorer.none')} />;
          return [...groups].map(([tag, operations]) => (
            <Sheet key={tag} title={tag} isFlush>
              <Accordion multiple variant="default" className={classes.list}>
                {operations.map((one) => (
                  <Accordion.Item key={`${one.method} ${one.path}`} value={`${one.method} ${one.path}`}>
                    <Accordion.Control>
                      <span className={classes.line}>
                        <span className={classes.method} data-method={one.method}>
                          {one.method}
                        </span>
                        <span className="mono">{one.path}</span>
                        <span className={classes.need}>{one.operation['x-icecore-need']}</span>
                      </span>
                    </Accordion.Control>
                    <Accordion.Panel>
                      <One listed={one} />
                    </Accordion.Panel>
                  </Accordion.Item>
                ))}
              </Accordion>
            </Sheet>
          ));
        }}
      </Read>
    </Screen>
  );
}

function One({ listed: { method, path, operation } }: { listed: Listed }) {
  const { t } = useTranslation();
  const body = operation.requestBody?.content?.['application/json']?.schema?.$ref?.split('/').pop();
  const parameters = operation.parameters?.filter((parameter) => parameter.in !== 'path') ?? [];
  return (
    <div className="stack tight">
      <p>{operation.summary}</p>
      {operation.description && <p className="soft small">{operation.description}</p>}
      {parameters.length > 0 && (
        <ul className="small soft">
          {parameters.map((parameter) => (
            <li key={parameter.name}>
              <code className="mono">{parameter.name}</code> {parameter.description}
            </li>
          ))}
        </ul>
      )}
      {body && (
        <p className="small soft">
          {t('explorer.body')} <code className="mono">{body}</code>
        </p>
      )}
      <CopyLine text={curl({ method, path, ...(body ? { body: {} } : {}), ...(method === 'PATCH' ? { ifMatch: 1 } : {}) }, window.location.origin)} />
    </div>
  );
}
