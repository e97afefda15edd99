/** Goal: `@X` prints what strftime(3) prints. Method: date(1) in the C locale, at awkward moments, in several time zones. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, test } from 'node:test';
import { strftime } from './strftime.js';

const conversions = [...'aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYz%'];
const moments = [
  '2026-01-01T00:00:00Z',
  '2024-12-30T12:00:00Z',
  '2027-01-03T23:59:59Z',
  '2024-02-29T11:59:59Z',
  '2026-07-05T13:05:09Z',
  '2026-03-29T01:30:00Z',
  '2009-12-31T06:07:08Z',
];
const before = process.env.TZ;
after(() => {
  if (before === undefined) delete process.env.TZ;
  else process.env.TZ = before;
});

for (const zone of ['UTC', 'America/New_York', 'Asia/Kolkata', 'Europe/Berlin']) {
  test(`${zone}`, () => {
    process.env.TZ = zone;
    const withName = zone === 'Asia/Kolkata' ? conversions : [...conversions, 'Z'];
    for (const moment of moments) {
      const date = new Date(moment);
      const format = withName.map((conversion) => `%${conversion}`).join('|');
      const seconds = String(date.getTime() / 1000);
      const { stdout, error } = spawnSync('date', ['-d', `@${seconds}`, `+${format}`], {
        env: { TZ: zone, LC_ALL: 'C', PATH: process.env.PATH },
      });
      assert.equal(error, undefined);
      assert.equal(`${withName.map((conversion) => strftime(date, conversion)).join('|')}\n`, String(stdout), moment);
    }
  });
}

test('what is no conversion stays', () => {
  assert.equal(strftime(new Date(), 'Q'), '%Q');
});
