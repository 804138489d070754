// How hard a password is to guess, roughly, while it is typed. The server has the last word (web/src/auth/password.rs).

/** Fewest characters that the server takes. */
export const SHORTEST = 12;

/** 0: too short, 1: weak, 2: fair, 3: good, 4: strong. Length counts most; repetition counts for nothing. */
export function strength(password: string): 0 | 1 | 2 | 3 | 4 {
  const letters = [...password];
  if (letters.length < SHORTEST) return 0;
  const different = new Set(letters).size;
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^a-zA-Z0-9]/].filter((kind) => kind.test(password)).length;
  const worth = Math.min(letters.length, 2.5 * different) * (1 + kinds / 8);
  if (different < 5 || worth < 14) return 1;
  return worth < 19 ? 2 : worth < 26 ? 3 : 4;
}
