// Import boundaries: modules import strictly downwards, never sideways, and only through the other module's index.ts.
const levels = [
  ['base'],
  ['protocol', 'metrics'],
  ['storage', 'transport'],
  ['certificates', 'policy', 'router'],
  ['session'],
  ['connection', 'client', 'gateway', 'rules', 'cluster'],
  ['bridge'],
  ['config'],
  ['api'],
  ['broker'],
];
const rules = [];
levels.forEach((names, level) => {
  for (const name of names) {
    const forbidden = levels.slice(level).flat().filter((other) => other !== name);
    if (forbidden.length > 0)
      rules.push({
        name: `${name}-imports-downwards`,
        severity: 'error',
        from: { path: `^src/${name}/`, pathNot: '\\.(test|fuzz)\\.ts$' },
        to: { path: `^src/(${forbidden.join('|')})/`, ...(name === 'config' ? { pathNot: '/options\\.ts$' } : {}) },
      });
    rules.push({
      name: `${name}-through-its-index`,
      severity: 'error',
      from: { path: '^(src|apps)/', pathNot: [`^src/${name}/`, '\\.(test|fuzz)\\.ts$'] },
      to: { path: `^src/${name}/`, pathNot: [`^src/${name}/index\\.ts$`, '/options\\.ts$'] },
    });
  }
});
module.exports = {
  forbidden: [
    ...rules,
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'no-apps-in-src', severity: 'error', from: { path: '^src/' }, to: { path: '^apps/' } },
  ],
  options: { tsPreCompilationDeps: true, tsConfig: { fileName: 'tsconfig.json' }, doNotFollow: { path: 'node_modules' } },
};
