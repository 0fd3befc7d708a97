/*
 * A module of Redis with a data type of its own, for modules.test.ts: BOX.PUT key text, BOX.GET key. It finds Redis' functions by their names, so that
 * it needs no header of Redis.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { READ = 1, WRITE = 2, EMPTY = 0, MODULE_KEY = 6 };

typedef struct {
  uint64_t version;
  void *(*load)(void *io, int encver);
  void (*save)(void *io, void *value);
  void (*rewrite)(void *aof, void *key, void *value);
  size_t (*memory)(const void *value);
  void (*digest)(void *digest, void *value);
  void (*free)(void *value);
} TypeMethods;

typedef struct {
  size_t length;
  char text[];
} Box;

static void *boxType;

static void *(*Alloc)(size_t bytes);
static void (*Free)(void *memory);
static const char *(*StringPtrLen)(const void *string, size_t *length);
static void *(*OpenKey)(void *ctx, void *name, int mode);
static void (*CloseKey)(void *key);
static int (*KeyType)(void *key);
static void *(*ModuleTypeGetType)(void *key);
static void *(*ModuleTypeGetValue)(void *key);
static int (*ModuleTypeSetValue)(void *key, void *type, void *value);
static int (*ReplyWithSimpleString)(void *ctx, const char *text);
static int (*ReplyWithStringBuffer)(void *ctx, const char *text, size_t length);
static int (*ReplyWithNull)(void *ctx);
static int (*ReplyWithError)(void *ctx, const char *text);
static int (*WrongArity)(void *ctx);
static int (*ReplicateVerbatim)(void *ctx);
static void (*SaveStringBuffer)(void *io, const char *text, size_t length);
static char *(*LoadStringBuffer)(void *io, size_t *length);
static void (*EmitAOF)(void *aof, const char *command, const char *format, ...);

static Box *box(const char *text, size_t length) {
  Box *made = Alloc(sizeof(Box) + length);
  made->length = length;
  memcpy(made->text, text, length);
  return made;
}

static int put(void *ctx, void **argv, int argc) {
  if (argc != 3) return WrongArity(ctx);
  void *key = OpenKey(ctx, argv[1], READ | WRITE);
  if (KeyType(key) != EMPTY && ModuleTypeGetType(key) != boxType) {
    CloseKey(key);
    return ReplyWithError(ctx, "WRONGTYPE this key holds no box");
  }
  size_t length;
  const char *text = StringPtrLen(argv[2], &length);
  ModuleTypeSetValue(key, boxType, box(text, length));
  CloseKey(key);
  ReplicateVerbatim(ctx);
  return ReplyWithSimpleString(ctx, "OK");
}

static int get(void *ctx, void **argv, int argc) {
  if (argc != 2) return WrongArity(ctx);
  void *key = OpenKey(ctx, argv[1], READ);
  Box *held = key != NULL && ModuleTypeGetType(key) == boxType ? ModuleTypeGetValue(key) : NULL;
  int done = held == NULL ? ReplyWithNull(ctx) : ReplyWithStringBuffer(ctx, held->text, held->length);
  CloseKey(key);
  return done;
}

static void *load(void *io, int encver) {
  if (encver != 0) return NULL;
  size_t length;
  char *text = LoadStringBuffer(io, &length);
  Box *loaded = box(text, length);
  Free(text);
  return loaded;
}

static void save(void *io, void *value) {
  Box *saved = value;
  SaveStringBuffer(io, saved->text, saved->length);
}

static void rewrite(void *aof, void *key, void *value) {
  Box *written = value;
  EmitAOF(aof, "BOX.PUT", "sb", key, written->text, written->length);
}

static void release(void *value) { Free(value); }

int RedisModule_OnLoad(void *ctx, void **argv, int argc) {
  (void)argv;
  (void)argc;
  int (*GetApi)(const char *name, void *into) = (int (*)(const char *, void *))((void **)ctx)[0];
  int (*SetModuleAttribs)(void *ctx, const char *name, int version, int apiVersion);
  int (*CreateCommand)(void *ctx, const char *name, void *run, const char *flags, int first, int last, int step);
  void *(*CreateDataType)(void *ctx, const char *name, int encver, TypeMethods *methods);
#define FIND(name) \
  if (GetApi("RedisModule_" #name, &name) != 0) return 1
  FIND(SetModuleAttribs);
  FIND(CreateCommand);
  FIND(CreateDataType);
  FIND(Alloc);
  FIND(Free);
  FIND(StringPtrLen);
  FIND(OpenKey);
  FIND(CloseKey);
  FIND(KeyType);
  FIND(ModuleTypeGetType);
  FIND(ModuleTypeGetValue);
  FIND(ModuleTypeSetValue);
  FIND(ReplyWithSimpleString);
  FIND(ReplyWithStringBuffer);
  FIND(ReplyWithNull);
  FIND(ReplyWithError);
  FIND(WrongArity);
  FIND(ReplicateVerbatim);
  FIND(SaveStringBuffer);
  FIND(LoadStringBuffer);
  FIND(EmitAOF);
  SetModuleAttribs(ctx, "box", 1, 1);
  TypeMethods methods = {.version = 1, .load = load, .save = save, .rewrite = rewrite, .free = release};
  boxType = CreateDataType(ctx, "text-box1", 0, &methods);
  if (boxType == NULL) return 1;
  if (CreateCommand(ctx, "box.put", put, "write deny-oom", 1, 1, 1) != 0) return 1;
  return CreateCommand(ctx, "box.get", get, "readonly", 1, 1, 1);
}
