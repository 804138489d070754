// Who is logged in, and what they may do. Screens hide what the role does not include; the server refuses it in any case.
import { createContext, useContext } from 'react';
import type { Right, Session } from '../api/queries';

export const SessionContext = createContext<Session | undefined>(undefined);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('a screen is shown to nobody');
  return session;
}

/** Whether the person has a right. */
export function useMay(right: Right): boolean {
  return useSession().rights.includes(right);
}
