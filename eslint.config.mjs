import js from '@eslint/js';
import pulumi from '@pulumi/eslint-plugin';
import tseslint from 'typescript-eslint';

/** Folders of this repository, and what each may import of the others (docs/architecture.md, "The house"). */
const house = {
  model: [],
  agent: ['model'],
  controller: ['model', 'agent'],
  console: ['controller'],
  local: ['model', 'agent', 'controller'],
  components: ['model'],
  policies: ['model'],
  render: ['model', 'components'],
  compose: ['model', 'agent', 'components'],
};

/** How deep files lie below a folder: at each depth another number of `../` leads out of it. */
const depths = [1, 2, 3, 4];

const boundaries = Object.entries(house).flatMap(([folder, allowed]) => {
  const forbidden = [...Object.keys(house), 'bench', 'reference', 'test'].filter(
    (f) => f !== folder && !allowed.includes(f),
  );
  return depths.map((depth) => ({
    files: [`${folder}/${'*/'.repeat(depth - 1)}*.ts`],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `^(\\.\\./){${depth}}(${forbidden.join('|')})(/|$)`,
              message: `${folder}/ may import ${allowed.length > 0 ? allowed.join(', ') : 'nothing of ours'}.`,
            },
            ...(folder === 'model'
              ? [{ regex: '^(node:|@pulumi/)', message: 'model/ is pure: no I/O and no Pulumi.' }]
              : []),
          ],
        },
      ],
    },
  }));
});

export default tseslint.config(
  { ignores: ['node_modules/', 'dist/', 'coverage/', '.meridian/', '**/*.d.ts'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      globals: {
        console: 'readonly',
        process: 'readonly',
        require: 'readonly',
        module: 'writable',
        Buffer: 'readonly',
        URL: 'readonly',
        performance: 'readonly',
        setTimeout: 'readonly',
        setInterval: 'readonly',
        clearTimeout: 'readonly',
        clearInterval: 'readonly',
        __dirname: 'readonly',
      },
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    // One program for all files: the tsconfigs of plugin/ and policies/, which are for Pulumi, would each load the providers' types once more.
    languageOptions: { parserOptions: { project: ['./tsconfig.json'], tsconfigRootDir: import.meta.dirname } },
    plugins: { '@pulumi': pulumi },
    rules: {
      // An Output in a template literal prints an error string instead of failing: pulumi.interpolate.
      '@pulumi/no-output-in-template-literal': 'error',
      '@pulumi/no-output-instance-in-template-literal': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/require-await': 'off', // an interface may ask for a promise where one implementation needs none
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  {
    // jest's matchers are `any`, and tests may look into untyped JSON.
    files: ['**/*.test.ts', 'test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  ...boundaries,
  {
    // Optional peer dependencies: who has nothing at a provider has not installed its package, and a component's file is loaded all the same.
    files: ['components/**/*.ts'],
    ignores: ['**/*.test.ts', 'components/testing/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^@pulumi/(alicloud|aws|kubernetes)(/|$)',
              allowTypeImports: true,
              message:
                'Its types only; the package is loaded by common/kubernetes.ts, aws/provider.ts or aliyun/provider.ts.',
            },
          ],
        },
      ],
    },
  },
  {
    // Events in, actions out: what runs in the agent runs under the simulator, byte for byte.
    files: ['agent/merge/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        'setTimeout',
        'setInterval',
        'setImmediate',
        'performance',
        'fetch',
        'process',
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'agent/merge has no clock: time enters by the stream.' },
        { object: 'Math', property: 'random', message: 'agent/merge has no randomness.' },
      ],
    },
  },
);
