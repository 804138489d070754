// Getting in, by a password or by a link: the server asks for the code of an authenticator where there is one, and then it is asked again.
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { asFailure } from '../api/failure';
import { session, type Session } from '../api/queries';
import { useAct } from './act';

/** `send` gets the code once the server wants one; `entered` is what follows. */
export function useEnter(send: (code: { code?: string }) => Promise<Session>, entered?: () => void | Promise<void>) {
  const queries = useQueryClient();
  const [code, setCode] = useState('');
  const [needsCode, setNeedsCode] = useState(false);
  const enter = useAct(async () => {
    try {
      queries.setQueryData(session.queryKey, await send(needsCode ? { code: code.trim() } : {}));
      await entered?.();
    } catch (error) {
      if (asFailure(error).code !== 'code_needed') throw error;
      setNeedsCode(true);
    }
  });
  return { ...enter, code, setCode, needsCode };
}
