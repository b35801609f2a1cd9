/** What other pages put into What if. */
export interface Draft {
  text: string;
  /** Which connections. */
  query?: string;
}

const KEY = 'netverdict.whatif';

/** Keeps a draft for the page What if, in this tab. */
export function putDraft(draft: Draft) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(draft));
  } catch {
    // Without storage the page begins empty.
  }
}

/** The draft that was left last. */
export function readDraft(): Draft | null {
  try {
    const draft = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Partial<Draft> | null;
    return typeof draft?.text === 'string' ? { text: draft.text, query: draft.query } : null;
  } catch {
    return null;
  }
}
