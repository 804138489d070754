// Where the time of a job goes.

export const SHARES = ['read', 'limit', 'hash', 'known', 'compress', 'store'] as const;
export type ShareName = (typeof SHARES)[number];
export type SharesOf = Partial<Record<ShareName, number>>;

/** The shares that there are, in the order of the data's way, in thousandths. */
export function shareParts(shares: SharesOf): { name: ShareName; share: number }[] {
  return SHARES.map((name) => ({ name, share: shares[name] ?? 0 })).filter((part) => part.share > 0);
}

/** What takes most of the time. */
export function bottleneck(shares: SharesOf): { name: ShareName; share: number } | undefined {
  return shareParts(shares).sort((a, b) => b.share - a.share)[0];
}

/** A text of which some parts are commands, between backticks. */
export function withCommands(text: string): { text: string; isCommand: boolean }[] {
  return text
    .split('`')
    .map((part, at) => ({ text: part, isCommand: at % 2 === 1 }))
    .filter((part) => part.text !== '');
}
