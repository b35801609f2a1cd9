/** How tall a line of the table is, in rem. */
export const SIZES = { compact: 2, normal: 3, large: 4.5 } as const;
export type Size = keyof typeof SIZES;
export const CARD = 8;

export const isSize = (text: string): text is Size => text in SIZES;

/** A rem in pixels, as the reader's browser has it. */
export const rem = () => Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
