// Name, password, and a code where the account wants one.
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask } from '../api/client';
import { asFailure, type Failure } from '../api/failure';
import { session } from '../api/queries';
import { Door } from '../parts/Door';
import { FailureNote } from '../parts/states';

export default function LogIn() {
  const { t } = useTranslation();
  const queries = useQueryClient();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const [needsCode, setNeedsCode] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  async function logIn() {
    setBusy(true);
    setFailure(undefined);
    try {
      const body = { name: name.trim(), password, ...(needsCode ? { code: code.trim() } : {}) };
      queries.setQueryData(session.queryKey, await ask(api.POST('/api/v1/session', { body })));
    } catch (error) {
      const failed = asFailure(error);
      if (failed.code === 'code_needed') setNeedsCode(true);
      else setFailure(failed);
    } finally {
      setBusy(false);
    }
  }
  return (
    <Door title={t('logIn.title')}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void logIn();
        }}
      >
        <TextInput label={t('logIn.name')} value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="username" autoFocus required />
        <PasswordInput label={t('logIn.password')} value={password} onChange={(event) => setPassword(event.currentTarget.value)} autoComplete="current-password" required visibilityToggleButtonProps={{ 'aria-label': t('logIn.showPassword') }} />
        {needsCode && (
          <TextInput label={t('logIn.code')} description={t('logIn.codeMore')} value={code} onChange={(event) => setCode(event.currentTarget.value)} autoComplete="one-time-code" inputMode="numeric" autoFocus required />
        )}
        {failure && <FailureNote failure={failure} />}
        <Button type="submit" loading={isBusy} fullWidth>
          {t('logIn.do')}
        </Button>
        <p className="faint">{t('logIn.lost')}</p>
      </form>
    </Door>
  );
}
