// The door: who has no session gets the log-in in place of the screen, at the same URL, and is there afterwards.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { Outlet } from 'react-router';
import { setCsrfToken, setOnLoggedOut } from '../api/client';
import { asFailure } from '../api/failure';
import { session } from '../api/queries';
import { FailureNote, Loading } from '../parts/states';
import LogIn from '../screens/LogIn';
import { SessionContext } from './session';

export function Gate() {
  const queries = useQueryClient();
  const found = useQuery(session);
  useEffect(() => {
    setOnLoggedOut(() => void queries.resetQueries({ queryKey: session.queryKey }));
  }, [queries]);
  setCsrfToken(found.data?.csrf_token ?? '');
  if (found.isPending) return <Loading />;
  if (found.isError) {
    const failure = asFailure(found.error);
    if (failure.code === 'not_logged_in') return <LogIn />;
    return <FailureNote failure={failure} again={() => void found.refetch()} isWhole />;
  }
  return (
    <SessionContext value={found.data}>
      <Outlet />
    </SessionContext>
  );
}
