/*
 * The door in Mosquitto: loads libpython, asks authplugin.brokers.mosquitto.plugin, and trusts it
 * only so far.
 *
 * This file is the security boundary. Whatever Python does (raise, return nonsense, fail to start),
 * the answer is "no" unless it is the exact magic verdict, and an asset id is checked here again
 * before the broker's acl_file patterns may use it. docs/review-shim.md is the checklist it is
 * reviewed by, docs/adr/0003 says why it has this shape. It is one file, and long, so that plain `cc`
 * builds it without a makefile and one person reads the whole boundary in one sitting.
 *
 * No Python and no Mosquitto header is needed: libpython is opened at run time by path, through
 * functions of the stable ABI (PEP 384) and three older ones that every CPython exports, and the
 * broker's plugin interface (version 5, mosquitto_broker.h) is declared below. So one binary serves
 * every CPython since 3.10 and every Mosquitto 2.x, and plain `cc` builds it.
 *
 * Threads: the broker calls everything here on its only thread. Python's other threads (key
 * refresher, metrics) run while the broker waits: the GIL is held only inside ask().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* ---- Mosquitto's plugin interface, version 5 ---------------------------------------------- */

enum { PLUGIN_VERSION = 5 };
enum { EVT_RELOAD = 1, EVT_ACL_CHECK = 2, EVT_BASIC_AUTH = 3, EVT_EXT_AUTH_START = 4, EVT_EXT_AUTH_CONTINUE = 5 };
enum { EVT_TICK = 9, EVT_DISCONNECT = 10, EVT_CLIENT_OFFLINE = 28 };
enum { ACL_READ = 1, ACL_WRITE = 2, ACL_SUBSCRIBE = 4 };
enum { ERR_AUTH_CONTINUE = -4, ERR_SUCCESS = 0, ERR_NOT_SUPPORTED = 10, ERR_AUTH = 11, ERR_ACL_DENIED = 12 };
enum { ERR_UNKNOWN = 13, ERR_PLUGIN_DEFER = 17 };
enum { PROTOCOL_WEBSOCKETS = 2 };
enum { LOG_NOTICE = 2, LOG_WARNING = 4, LOG_ERR = 8 };

struct mosquitto;
struct mosquitto_opt { char *key; char *value; };

struct evt_acl_check {
	void *future;
	struct mosquitto *client;
	const char *topic;
	const void *payload;
	void *properties;
	int access;
	uint32_t payloadlen;
	uint8_t qos;
	bool retain;
	void *future2[4];
};

struct evt_basic_auth {
	void *future;
	struct mosquitto *client;
	char *username;
	char *password;
	void *future2[4];
};

struct evt_extended_auth {
	void *future;
	struct mosquitto *client;
	const void *data_in;
	void *data_out;          /* from libc's malloc: the broker gives it to free() */
	uint16_t data_in_len;
	uint16_t data_out_len;
	const char *auth_method; /* NULL at CONTINUE */
	void *future2[3];
};

struct evt_tick {
	void *future;
	long now_ns;
	long next_ms; /* 2.0 calls it next_ns, and reads neither */
	time_t now_s;
	time_t next_s;
	void *future2[4];
};

struct evt_disconnect {
	void *future;
	struct mosquitto *client;
	int reason;
	void *future2[4];
};

typedef int (*callback_fn)(int event, void *event_data, void *userdata);

extern int mosquitto_callback_register(void *identifier, int event, callback_fn, const void *, void *userdata);
extern int mosquitto_callback_unregister(void *identifier, int event, callback_fn, const void *);
extern void mosquitto_log_printf(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern const char *mosquitto_client_address(const struct mosquitto *);
extern const char *mosquitto_client_id(const struct mosquitto *);
extern const char *mosquitto_client_username(const struct mosquitto *);
extern int mosquitto_set_username(struct mosquitto *, const char *username);
extern int mosquitto_kick_client_by_clientid(const char *client_id, bool with_will);
extern int mosquitto_kick_client_by_username(const char *username, bool with_will);
extern int mosquitto_client_protocol(const struct mosquitto *);
extern int mosquitto_client_protocol_version(const struct mosquitto *);
extern void *mosquitto_client_certificate(const struct mosquitto *); /* an X509 of the caller's, or NULL */
extern int mosquitto_broker_publish_copy(const char *client_id, const char *topic, int length, const void *payload,
		int qos, bool retain, void *properties);
/* Since 2.1, looked up by name: the connection that has a client id, once it was let in. */
typedef struct mosquitto *(*client_fn)(const char *client_id);

/* ---- libpython, by name -------------------------------------------------------------------- */

typedef void PyObject;

/* name, result, arguments. Sizes are Py_ssize_t, which is ptrdiff_t. */
#define PYTHON_FUNCTIONS(X) \
	X(Py_GetVersion, const char *, (void)) \
	X(Py_IsInitialized, int, (void)) \
	X(Py_InitializeEx, void, (int)) \
	X(PyEval_SaveThread, void *, (void)) \
	X(PyGILState_Ensure, int, (void)) \
	X(PyGILState_Release, void, (int)) \
	X(PyRun_SimpleString, int, (const char *)) \
	X(PyImport_AddModule, PyObject *, (const char *)) \
	X(PyImport_ImportModule, PyObject *, (const char *)) \
	X(PyObject_GetAttrString, PyObject *, (PyObject *, const char *)) \
	X(PyObject_Call, PyObject *, (PyObject *, PyObject *, PyObject *)) \
	X(PyObject_Str, PyObject *, (PyObject *)) \
	X(PyUnicode_AsUTF8String, PyObject *, (PyObject *)) \
	X(PyUnicode_FromString, PyObject *, (const char *)) \
	X(PyBytes_FromStringAndSize, PyObject *, (const char *, ptrdiff_t)) \
	X(PyBytes_AsStringAndSize, int, (PyObject *, char **, ptrdiff_t *)) \
	X(PyLong_FromVoidPtr, PyObject *, (void *)) \
	X(PyLong_FromLong, PyObject *, (long)) \
	X(PyLong_AsLong, long, (PyObject *)) \
	X(PyTuple_New, PyObject *, (ptrdiff_t)) \
	X(PyTuple_SetItem, int, (PyObject *, ptrdiff_t, PyObject *)) \
	X(PyTuple_GetItem, PyObject *, (PyObject *, ptrdiff_t)) \
	X(PyTuple_Size, ptrdiff_t, (PyObject *)) \
	X(PyErr_Occurred, PyObject *, (void)) \
	X(PyErr_Clear, void, (void)) \
	X(PyErr_Fetch, void, (PyObject **, PyObject **, PyObject **)) \
	X(PyErr_NormalizeException, void, (PyObject **, PyObject **, PyObject **)) \
	X(Py_IncRef, void, (PyObject *)) \
	X(Py_DecRef, void, (PyObject *))

#define DECLARE(name, result, arguments) result (*name) arguments;
static struct { PYTHON_FUNCTIONS(DECLARE) } py;
static PyObject *none;

/* ---- What Python says at the start, and what is kept of it ----------------------------------- */

/* Verdicts. No exception, default or truth value equals one of these by accident. */
enum { ALLOW = 0x600D, DEFER = 0x600E, CHALLENGE = 0x600F, STORED = 0x6010 };
/*
 * An effect is (code, bytes) or (code, bytes, bytes): a log level with its line, or one of these. KICK has
 * a client id, KICK_ALL a user name, PUBLISH a topic and a payload, DATA what the client is sent with an
 * AUTH packet, HURRY nothing: tick at the next turn of the loop.
 */
enum { KICK = 0x4B, KICK_ALL = 0x4C, PUBLISH = 0x50, DATA = 0x44, HURRY = 0x48 };

enum {
	ASSET_LENGTH = 64,     /* authplugin.jose.identity: an asset id is [A-Za-z0-9_-]{1,64} */
	PASSWORD_LENGTH = 8193, /* one more than the gate accepts: it says too_long, and no more is copied */
	NAME_LENGTH = 128,
	SERVICES = 64,
	ROADS = 16,
	QUESTIONS = 200,       /* about filters, of one client in a row and between two ticks: a millisecond of Python's */
	TICK_MS = 250,         /* who is revoked is gone within a second, and idle brokers are woken rarely */
	CERTIFICATE_LENGTH = 16384,
};

/* The one method of enhanced authentication: RFC 9431. */
static const char METHOD[] = "ace";
/* User name of a client whose exchange has not ended; no asset and no service account has a colon. */
static const char PENDING[] = "pending:";

/* Topics a device may use: `before` <asset id> `after`, exactly or with anything below. */
struct road {
	char before[NAME_LENGTH];
	char after[NAME_LENGTH];
	size_t before_length;
	size_t after_length;
	bool below;   /* the template ends in "/#" */
	bool retain;  /* messages there may be retained */
};

struct tables {
	char services[SERVICES][NAME_LENGTH];
	size_t service_count;
	struct road publish[ROADS], receive[ROADS];
	size_t publish_count, receive_count;
};

/* One is in use while the other is filled: a reload that fails half way changes nothing. */
static struct tables both[2], *in_use = &both[0];

static struct {
	bool started;
	bool stopped;
	bool shut;       /* nobody comes in: Python's tables and ours may differ */
	bool agreed;     /* the broker's acl_file was found to say what the tables say */
	bool reloading;  /* between RELOAD and the tick after it, when the broker asks about everyone again */
	void *identifier;
	PyObject *authenticate, *authorize, *challenge, *prove, *tick, *disconnect, *reload, *stop;
	client_fn client_of;
	int (*i2d_X509)(void *certificate, unsigned char **der);
	void (*X509_free)(void *certificate);
	int64_t last_tick; /* milliseconds; 0 makes the next turn of the loop a tick */
	const struct mosquitto *asker; /* about whose filters Python was asked last, `asked` times in a row since the tick */
	unsigned asked;
	long unasked;    /* refused without a question since the tick */
	bool kicking;    /* the broker is ending somebody for us, and asks about what it stores for them */
} gate;

/*
 * Who was let in and is connected, by pointer: open addressing, at most half full. The pointers are never followed.
 * Without memory somebody is missing, and Python is asked about each of its messages.
 */
static struct { const struct mosquitto **places; size_t size, count; } present;

static size_t place_of(const struct mosquitto *client)
{
	return (size_t)(((uint64_t)(uintptr_t)client * 0x9E3779B97F4A7C15u) >> 32) & (present.size - 1);
}

/* Where a client is, or the free place where it would be. There is one. */
static size_t find_place(const struct mosquitto *client)
{
	size_t i = place_of(client);
	while(present.places[i] && present.places[i] != client) i = (i + 1) & (present.size - 1);
	return i;
}

static bool is_present(const struct mosquitto *client)
{
	return present.size && present.places[find_place(client)] == client;
}

static void enter(const struct mosquitto *client)
{
	if(2 * (present.count + 1) > present.size){
		size_t old_size = present.size, size = old_size ? 2 * old_size : 64;
		const struct mosquitto **old = present.places, **places = calloc(size, sizeof(*places));
		if(!places) return;
		present.places = places;
		present.size = size;
		for(size_t i = 0; i < old_size; i++){
			if(old[i]) places[find_place(old[i])] = old[i];
		}
		free(old);
	}
	size_t i = find_place(client);
	if(!present.places[i]) present.count++;
	present.places[i] = client;
}

static void leave(const struct mosquitto *client)
{
	if(!is_present(client)) return;
	size_t mask = present.size - 1, hole = find_place(client);
	present.count--;
	/* What comes after a hole moves into it, unless it would stand before its own place then. */
	for(size_t i = (hole + 1) & mask; present.places[i]; i = (i + 1) & mask){
		if(((i - place_of(present.places[i])) & mask) < ((i - hole) & mask)) continue;
		present.places[hole] = present.places[i];
		hole = i;
	}
	present.places[hole] = NULL;
}

static bool is_service(const char *username)
{
	if(!username) return false;
	for(size_t i = 0; i < in_use->service_count; i++){
		if(!strcmp(in_use->services[i], username)) return true;
	}
	return false;
}

static bool is_pending(const char *username)
{
	return username && !strncmp(username, PENDING, sizeof(PENDING) - 1);
}

static bool is_asset(const char *text, ptrdiff_t length)
{
	if(length < 1 || length > ASSET_LENGTH) return false;
	for(ptrdiff_t i = 0; i < length; i++){
		char c = text[i];
		bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
		if(!safe) return false;
	}
	return true;
}

/* ---- Talking to Python; the GIL is held in all of these --------------------------------------- */

static PyObject *nothing(void)
{
	py.Py_IncRef(none);
	return none;
}

static PyObject *bytes_or_none(const char *text, size_t limit)
{
	return text ? py.PyBytes_FromStringAndSize(text, (ptrdiff_t)strnlen(text, limit)) : nothing();
}

/*
 * The client's certificate as DER, or None. The broker's TLS asks for one only where `require_certificate` is
 * set, and ends the handshake of a client whose certificate it cannot verify: one that is here was verified.
 */
static PyObject *certificate(const struct mosquitto *client)
{
	PyObject *der = NULL;
	unsigned char *bytes = NULL, *end;

	if(!gate.i2d_X509) return nothing();
	void *held = mosquitto_client_certificate(client);
	if(!held) return nothing();
	int length = gate.i2d_X509(held, NULL);
	if(length > 0 && length <= CERTIFICATE_LENGTH) bytes = malloc((size_t)length);
	end = bytes; /* i2d_X509 moves it past what it wrote */
	if(bytes && gate.i2d_X509(held, &end) == length) der = py.PyBytes_FromStringAndSize((char *)bytes, length);
	free(bytes);
	gate.X509_free(held);
	return der ? der : nothing();
}

/* Takes over the references in `arguments`, also when it fails. NULL with an exception set on failure. */
static PyObject *call(PyObject *function, PyObject **arguments, int count)
{
	PyObject *tuple = py.PyTuple_New(count);
	bool complete = tuple != NULL;
	for(int i = 0; i < count; i++){
		if(!arguments[i]) complete = false;
		else if(!tuple) py.Py_DecRef(arguments[i]);
		else py.PyTuple_SetItem(tuple, i, arguments[i]);
	}
	PyObject *result = complete && function ? py.PyObject_Call(function, tuple, NULL) : NULL;
	if(tuple) py.Py_DecRef(tuple);
	return result;
}

/* Logs the exception in flight and clears it. `values` only where no client's bytes can be in it. */
static void log_exception(const char *what, bool values)
{
	PyObject *type = NULL, *value = NULL, *trace = NULL, *name = NULL, *text = NULL;
	char *shown = NULL;
	ptrdiff_t length;

	py.PyErr_Fetch(&type, &value, &trace);
	py.PyErr_NormalizeException(&type, &value, &trace);
	if(values && value) name = py.PyObject_Str(value);
	else if(type) name = py.PyObject_GetAttrString(type, "__name__");
	if(name) text = py.PyUnicode_AsUTF8String(name);
	if(!text || py.PyBytes_AsStringAndSize(text, &shown, &length)) shown = NULL;
	mosquitto_log_printf(LOG_ERR, "authplugin: %s: %s", what, shown ? shown : "no answer");
	if(text) py.Py_DecRef(text);
	if(name) py.Py_DecRef(name);
	if(type) py.Py_DecRef(type);
	if(value) py.Py_DecRef(value);
	if(trace) py.Py_DecRef(trace);
	py.PyErr_Clear();
}

/* Bytes without NUL at `index` of a tuple; NULL when it is anything else. Borrowed from the tuple. */
static const char *text_at(PyObject *tuple, ptrdiff_t index, ptrdiff_t *length)
{
	char *text = NULL;
	PyObject *item = py.PyTuple_GetItem(tuple, index);
	/* With a length pointer NUL bytes pass, so they are looked for here. */
	if(!item || py.PyBytes_AsStringAndSize(item, &text, length) || strlen(text) != (size_t)*length){
		py.PyErr_Clear();
		return NULL;
	}
	return text;
}

/* The integer at `index` of a tuple; -1 when it is anything else. */
static long number_at(PyObject *tuple, ptrdiff_t index)
{
	PyObject *item = py.PyTuple_GetItem(tuple, index);
	long number = item ? py.PyLong_AsLong(item) : -1;
	if(py.PyErr_Occurred()){
		py.PyErr_Clear();
		return -1;
	}
	return number;
}

/* Copies what goes out with an AUTH packet; `e` is NULL where there is none. */
static void attach(struct evt_extended_auth *e, const char *bytes, ptrdiff_t length)
{
	if(!e || e->data_out || length < 1 || length > UINT16_MAX) return;
	e->data_out = malloc((size_t)length);
	if(!e->data_out) return;
	memcpy(e->data_out, bytes, (size_t)length);
	e->data_out_len = (uint16_t)length;
}

/* Does one effect; what makes no sense is left out. */
static void perform(PyObject *effect, struct evt_extended_auth *e)
{
	ptrdiff_t length, size = py.PyTuple_Size(effect);
	char *bytes = NULL;

	if(size != 2 && size != 3){
		py.PyErr_Clear();
		return;
	}
	long code = number_at(effect, 0);
	PyObject *last = py.PyTuple_GetItem(effect, size - 1);
	if(py.PyBytes_AsStringAndSize(last, &bytes, &length)){
		py.PyErr_Clear();
		return;
	}
	if(code == DATA && size == 2){
		attach(e, bytes, length);
		return;
	}
	const char *text = text_at(effect, 1, &(ptrdiff_t){0});
	if(!text) return;
	if(code == PUBLISH && size == 3 && length <= INT32_MAX){
		/* Queued by the broker, with a copy of ours; delivered to whom the acl_file lets read it. */
		mosquitto_broker_publish_copy(NULL, text, (int)length, bytes, 1, false, NULL);
	}else if(size == 2){
		/* A kick calls back at once, into on_disconnect and on_acl_check; the effect is still ours then. */
		bool before = gate.kicking;
		gate.kicking = true;
		if(code == KICK) mosquitto_kick_client_by_clientid(text, false);
		else if(code == KICK_ALL && *text) mosquitto_kick_client_by_username(text, false);
		gate.kicking = before;
		if(code == HURRY) gate.last_tick = 0;
		else if(code == LOG_NOTICE || code == LOG_WARNING || code == LOG_ERR) mosquitto_log_printf((int)code, "authplugin: %s", text);
	}
}

static void perform_all(PyObject *effects, struct evt_extended_auth *e)
{
	ptrdiff_t count = py.PyTuple_Size(effects);
	py.PyErr_Clear();
	for(ptrdiff_t i = 0; i < count; i++) perform(py.PyTuple_GetItem(effects, i), e);
}

/*
 * Asks Python and performs its effects. The answer must be (verdict, name, effects); anything else is
 * 0, which no caller takes for a yes. `name` has room for ASSET_LENGTH + 1: on ALLOW it holds a safe asset
 * id, on CHALLENGE a user name that begins with PENDING, or nothing; others pass NULL for it.
 */
static long ask(PyObject *function, const char *what, PyObject **arguments, int count, char *name, struct evt_extended_auth *e)
{
	long verdict = 0;
	ptrdiff_t length;

	PyObject *answer = call(function, arguments, count);
	if(!answer || py.PyTuple_Size(answer) != 3){
		log_exception(what, false);
	}else{
		verdict = number_at(answer, 0);
		if(name && (verdict == ALLOW || verdict == CHALLENGE)){
			const char *text = text_at(answer, 1, &length);
			bool fits = text && length <= ASSET_LENGTH
				&& (verdict == ALLOW ? is_asset(text, length) : !*text || is_pending(text));
			if(fits) memcpy(name, text, (size_t)length + 1);
			else verdict = 0;
		}
		perform_all(py.PyTuple_GetItem(answer, 2), e);
	}
	if(answer) py.Py_DecRef(answer);
	return verdict;
}

/* ---- What the broker asks ----------------------------------------------------------------------- */

/* Lets a client in under an asset's name, which is no service account's. */
static int admit(struct mosquitto *client, const char *username, const char *asset)
{
	if(gate.shut || is_service(asset) || is_service(username)) return ERR_AUTH;
	/* Frees `username`: it is not touched after this. `asset` is a copy of our own. */
	bool named = username && !strcmp(username, asset);
	if(!named && mosquitto_set_username(client, asset) != ERR_SUCCESS) return ERR_AUTH;
	enter(client);
	return ERR_SUCCESS;
}

/*
 * Whether the broker may be asking about a session it stores, which was let in once and is judged when it
 * connects. 2.1 knows who was let in; in 2.0 nobody new is asked about between RELOAD and the next tick but
 * clients of websockets.
 */
static bool may_be_stored(const struct mosquitto *client)
{
	if(!gate.reloading) return false;
	const char *client_id = mosquitto_client_id(client);
	if(gate.client_of) return client_id && gate.client_of(client_id) == client;
	return mosquitto_client_protocol(client) != PROTOCOL_WEBSOCKETS;
}

static int on_basic_auth(int event, void *event_data, void *userdata)
{
	struct evt_basic_auth *e = event_data;
	char asset[ASSET_LENGTH + 1] = "";
	(void)event;
	(void)userdata;

	bool stored = may_be_stored(e->client);
	int gil = py.PyGILState_Ensure();
	PyObject *arguments[] = {
		py.PyLong_FromVoidPtr(e->client),
		bytes_or_none(mosquitto_client_id(e->client), SIZE_MAX / 2),
		bytes_or_none(e->username, SIZE_MAX / 2),
		bytes_or_none(e->password, PASSWORD_LENGTH),
		bytes_or_none(mosquitto_client_address(e->client), NAME_LENGTH),
		certificate(e->client),
		py.PyLong_FromLong(stored),
	};
	long verdict = ask(gate.authenticate, "refused a client, the gate failed", arguments, 7, asset, NULL);
	py.PyGILState_Release(gil);

	/* Refusing what is not connected would have 2.0 put it on its list of ends twice, and free it once. */
	if(verdict == STORED && stored) return ERR_SUCCESS;
	/* Only a service account may go on to the password file, and no asset may be called like one. */
	if(verdict == DEFER && is_service(e->username)) return ERR_PLUGIN_DEFER;
	return verdict == ALLOW ? admit(e->client, e->username, asset) : ERR_AUTH;
}

/* A new client asks for enhanced authentication, or one that was let in asks to be judged anew. */
static int on_auth_start(int event, void *event_data, void *userdata)
{
	struct evt_extended_auth *e = event_data;
	char name[ASSET_LENGTH + 1] = "";
	(void)event;
	(void)userdata;

	if(!e->auth_method || strcmp(e->auth_method, METHOD)) return ERR_NOT_SUPPORTED;
	const char *username = mosquitto_client_username(e->client);
	int gil = py.PyGILState_Ensure();
	PyObject *arguments[] = {
		py.PyLong_FromVoidPtr(e->client),
		bytes_or_none(mosquitto_client_id(e->client), SIZE_MAX / 2),
		bytes_or_none(username, SIZE_MAX / 2),
		e->data_in ? py.PyBytes_FromStringAndSize(e->data_in, e->data_in_len) : nothing(),
		bytes_or_none(mosquitto_client_address(e->client), NAME_LENGTH),
		certificate(e->client),
	};
	long verdict = ask(gate.challenge, "refused an exchange, the gate failed", arguments, 6, name, e);
	py.PyGILState_Release(gil);

	if(verdict != CHALLENGE || gate.shut || is_service(username)) return ERR_AUTH;
	/* Until it is let in, nobody's name: a broker call by name reaches it then, and it alone. */
	if(*name && mosquitto_set_username(e->client, name) != ERR_SUCCESS) return ERR_AUTH;
	return ERR_AUTH_CONTINUE;
}

static int on_auth_continue(int event, void *event_data, void *userdata)
{
	struct evt_extended_auth *e = event_data;
	char asset[ASSET_LENGTH + 1] = "";
	(void)event;
	(void)userdata;

	const char *username = mosquitto_client_username(e->client);
	bool was_in = !is_pending(username);
	int gil = py.PyGILState_Ensure();
	PyObject *arguments[] = {
		py.PyLong_FromVoidPtr(e->client),
		e->data_in ? py.PyBytes_FromStringAndSize(e->data_in, e->data_in_len) : nothing(),
	};
	long verdict = ask(gate.prove, "refused a proof, the gate failed", arguments, 2, asset, e);
	py.PyGILState_Release(gil);

	int result = verdict == ALLOW ? admit(e->client, username, asset) : ERR_AUTH;
	if(result == ERR_SUCCESS || !was_in) return result;
	/*
	 * One that was let in is never refused here: an AUTH packet without content makes the broker (2.0 and 2.1)
	 * forget the client id of a session that is still listed under it, and then follow freed memory. It stays in
	 * the exchange, where it may neither send nor receive, until the tick ends it by its client id.
	 */
	gate.last_tick = 0;
	return ERR_AUTH_CONTINUE;
}

/* Whether a topic is where every device may be. By lengths first: this is every message of a fleet. */
static bool on_a_road(const struct road *roads, size_t count, const char *asset, const char *topic, bool retain)
{
	size_t length = strlen(asset), whole = strlen(topic);
	for(size_t i = 0; i < count; i++){
		const struct road *road = &roads[i];
		size_t head = road->before_length + length, end = head + road->after_length;
		if(whole < end || (whole > end && !(road->below && topic[end] == '/')) || (retain && !road->retain)) continue;
		if(!memcmp(topic, road->before, road->before_length) && !memcmp(topic + road->before_length, asset, length)
				&& !memcmp(topic + head, road->after, road->after_length)) return true;
	}
	return false;
}

/* Whether it is no connection's: of no protocol, and, where 2.1 can say so, listed under no client id. */
static bool is_made_up(const struct mosquitto *client)
{
	if(mosquitto_client_protocol_version(client)) return false;
	const char *client_id = mosquitto_client_id(client);
	return !gate.client_of || !client_id || gate.client_of(client_id) != client;
}

/*
 * Whether Python is asked about a filter. One packet may hold thousands, and everybody waits while Python is asked:
 * beyond some of one client in a row the answer is no, and the next tick hears how often.
 */
static bool may_ask(const struct mosquitto *client)
{
	if(gate.asker != client){
		gate.asker = client;
		gate.asked = 0;
	}
	if(gate.asked++ < QUESTIONS) return true;
	gate.unasked++;
	return false;
}

static int on_acl_check(int event, void *event_data, void *userdata)
{
	struct evt_acl_check *e = event_data;
	(void)event;
	(void)userdata;

	/* Unsubscribes are the acl_file's; deferring to nobody is a refusal. */
	if(e->access != ACL_READ && e->access != ACL_SUBSCRIBE && e->access != ACL_WRITE) return ERR_PLUGIN_DEFER;
	const char *username = mosquitto_client_username(e->client);
	if(!username || !e->topic || is_pending(username)) return ERR_ACL_DENIED;
	const struct tables *t = in_use;
	/* Every message of a fleet ends here: the acl_file would be asked what it was found to say already. */
	bool allowed = (e->access == ACL_WRITE && on_a_road(t->publish, t->publish_count, username, e->topic, e->retain))
		|| (e->access == ACL_READ && on_a_road(t->receive, t->receive_count, username, e->topic, false));
	if(is_service(username)) return ERR_PLUGIN_DEFER;
	/*
	 * Who publishes and is not connected either left a will, which may be sent days later and is Python's to judge; or
	 * a retained message, which the broker asks about in the name of a client that it makes up.
	 */
	bool remains = e->access == ACL_WRITE && !is_present(e->client);
	bool retained = remains && is_made_up(e->client);
	if(allowed && (!remains || retained)) return gate.agreed ? ERR_SUCCESS : ERR_PLUGIN_DEFER;
	/*
	 * A kick has the broker ask whether what it stores for the client may stay subscribed to. It may: that was judged
	 * when it was subscribed to, what it brings is judged when it is delivered, and a no would take it away for good.
	 */
	if(e->access == ACL_SUBSCRIBE && gate.kicking) return ERR_PLUGIN_DEFER;
	if(e->access == ACL_SUBSCRIBE && !may_ask(e->client)) return ERR_ACL_DENIED;

	int gil = py.PyGILState_Ensure();
	PyObject *arguments[] = {
		py.PyLong_FromVoidPtr(e->client),
		bytes_or_none(username, SIZE_MAX / 2),
		py.PyLong_FromLong(e->access),
		bytes_or_none(e->topic, SIZE_MAX / 2),
		py.PyLong_FromLong(e->retain),
		py.PyLong_FromLong(retained),
	};
	long verdict = ask(gate.authorize, "refused a topic, the gate failed", arguments, 6, NULL, NULL);
	py.PyGILState_Release(gil);
	return verdict == ALLOW ? ERR_PLUGIN_DEFER : ERR_ACL_DENIED;
}

static int on_tick(int event, void *event_data, void *userdata)
{
	struct evt_tick *e = event_data;
	(void)event;
	(void)userdata;

	/* 2.1 sleeps until somebody wants to be woken; 2.0 ignores this. */
	e->next_s = 0;
	e->next_ms = TICK_MS;
	struct timespec clock;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &clock);
	int64_t now = (int64_t)clock.tv_sec * 1000 + clock.tv_nsec / 1000000;
	/* The broker calls this at every turn of its loop: tens of thousands a second under load. */
	if(gate.last_tick && now - gate.last_tick < TICK_MS && !gate.reloading) return ERR_SUCCESS;
	gate.last_tick = now;
	gate.reloading = false;
	gate.asker = NULL;
	int gil = py.PyGILState_Ensure();
	PyObject *arguments[] = {py.PyLong_FromLong(gate.unasked)};
	gate.unasked = 0;
	ask(gate.tick, "the gate failed at its tick", arguments, 1, NULL, NULL);
	py.PyGILState_Release(gil);
	return ERR_SUCCESS;
}

static int on_disconnect(int event, void *event_data, void *userdata)
{
	struct evt_disconnect *e = event_data;
	(void)event;
	(void)userdata;

	leave(e->client);
	/* The next one at this address is another client. */
	if(gate.asker == e->client) gate.asker = NULL;
	int gil = py.PyGILState_Ensure();
	PyObject *arguments[] = {py.PyLong_FromVoidPtr(e->client)};
	ask(gate.disconnect, "the gate failed to end a session", arguments, 1, NULL, NULL);
	py.PyGILState_Release(gil);
	return ERR_SUCCESS;
}

/* ---- What the shim keeps of the configuration ---------------------------------------------------- */

/* Reads roads as (before, after, below, retain). */
static bool read_roads(PyObject *items, struct road *roads, size_t *kept)
{
	ptrdiff_t length, count = py.PyTuple_Size(items);
	if(count < 0 || count > ROADS) return false;
	for(ptrdiff_t i = 0; i < count; i++){
		PyObject *item = py.PyTuple_GetItem(items, i);
		struct road *road = &roads[i];
		if(py.PyTuple_Size(item) != 4) return false;
		const char *before = text_at(item, 0, &length);
		if(!before || length >= NAME_LENGTH) return false;
		memcpy(road->before, before, (size_t)length + 1);
		road->before_length = (size_t)length;
		const char *after = text_at(item, 1, &length);
		if(!after || length >= NAME_LENGTH) return false;
		memcpy(road->after, after, (size_t)length + 1);
		road->after_length = (size_t)length;
		road->below = number_at(item, 2) == 1;
		road->retain = number_at(item, 3) == 1;
	}
	*kept = (size_t)count;
	return true;
}

/* Puts (services, publish roads, receive roads) in use: all of it or nothing. */
static bool take_tables(PyObject *answer)
{
	struct tables *next = in_use == &both[0] ? &both[1] : &both[0];
	ptrdiff_t length;

	memset(next, 0, sizeof(*next));
	if(!answer || py.PyTuple_Size(answer) != 3) return false;
	PyObject *services = py.PyTuple_GetItem(answer, 0);
	ptrdiff_t count = py.PyTuple_Size(services);
	if(count < 0 || count > SERVICES) return false;
	for(ptrdiff_t i = 0; i < count; i++){
		const char *name = text_at(services, i, &length);
		if(!name || length < 1 || length >= NAME_LENGTH) return false;
		memcpy(next->services[next->service_count++], name, (size_t)length + 1);
	}
	if(!read_roads(py.PyTuple_GetItem(answer, 1), next->publish, &next->publish_count)) return false;
	if(!read_roads(py.PyTuple_GetItem(answer, 2), next->receive, &next->receive_count)) return false;
	in_use = next;
	return true;
}

static int on_reload(int event, void *event_data, void *userdata)
{
	(void)event;
	(void)event_data;
	(void)userdata;

	gate.reloading = true;
	/* The broker reads its acl_file anew right after this: until that is found to be right, it has the last word. */
	gate.agreed = false;
	int gil = py.PyGILState_Ensure();
	/* (verdict, tables, effects): with ALLOW the tables are what Python decides by now, else the old ones stay. */
	PyObject *answer = call(gate.reload, NULL, 0);
	if(!answer || py.PyTuple_Size(answer) != 3){
		log_exception("the gate failed to reload, nobody comes in", false);
		gate.shut = true;
	}else{
		/* What was shut opens only with tables that are Python's own. */
		if(number_at(answer, 0) == ALLOW){
			gate.agreed = take_tables(py.PyTuple_GetItem(answer, 1));
			gate.shut = !gate.agreed;
		}
		py.PyErr_Clear();
		if(gate.shut) mosquitto_log_printf(LOG_ERR, "authplugin: nobody comes in until the configuration is read anew, and fits in here");
		perform_all(py.PyTuple_GetItem(answer, 2), NULL);
	}
	if(answer) py.Py_DecRef(answer);
	py.PyGILState_Release(gil);
	return ERR_SUCCESS;
}

/* ---- Start -------------------------------------------------------------------------------------- */

extern char **environ;

/*
 * PyConfig has no stable layout, so the interpreter is isolated by what every CPython obeys: no
 * PYTHON* variable but the three we set, no `site` (so no user site, no distribution's packages),
 * no search along PATH because PYTHONHOME answers it, no current directory. The broker's own
 * environment is put back afterwards.
 */
static void initialise(void *library, const char *home)
{
	char **saved = environ;
	size_t count = 0, kept = 0;
	while(saved[count]) count++;
	/* `saved` itself is not put back: where anybody has called setenv before, it is glibc's to realloc. */
	char **own = calloc(count + 1, sizeof(char *));
	char **clean = calloc(count + 1, sizeof(char *));
	if(!own || !clean){
		free(own);
		free(clean);
		return;
	}
	memcpy(own, saved, count * sizeof(char *));
	for(size_t i = 0; i < count; i++){
		if(strncmp(saved[i], "PYTHON", 6)) clean[kept++] = saved[i];
	}
	environ = clean;
	int *no_site = dlsym(library, "Py_NoSiteFlag");
	if(no_site) *no_site = 1;
	bool set = !setenv("PYTHONHOME", home, 1) && !setenv("PYTHONNOUSERSITE", "1", 1) && !setenv("PYTHONSAFEPATH", "1", 1);
	if(set) py.Py_InitializeEx(0); /* 0: the broker keeps its own signal handlers */
	/* setenv has moved `environ` to an array of the C library's own, which is its affair; `own` is in use from now on. */
	if(environ != clean) free(clean);
	environ = own;
}

static const char ENTER[] =
	"import sys, site\n"
	"def enter(*places):\n"
	"    sys.path[:] = [p for p in sys.path if p and not p.rstrip('/').endswith(('site-packages', 'dist-packages'))]\n"
	"    for place in places:\n"
	"        site.addsitedir(place)\n"
	"    sys.setswitchinterval(1e-4)\n";

static bool load(const char *path)
{
	/* GLOBAL: extension modules look their Python up there. NODELETE: Python is never unloaded. */
	void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
	if(!library){
		mosquitto_log_printf(LOG_ERR, "authplugin: cannot load Python: %s; run `authplugin mosquitto build` again "
				"and use the plugin_opt lines it prints", dlerror());
		return false;
	}
#define FIND(name, result, arguments) \
	*(void **)&py.name = dlsym(library, #name); \
	if(!py.name){ \
		mosquitto_log_printf(LOG_ERR, "authplugin: %s has no " #name ": not a shared library of CPython 3.10 or later", path); \
		return false; \
	}
	PYTHON_FUNCTIONS(FIND)
	none = dlsym(library, "_Py_NoneStruct");
	return none != NULL;
}

static bool readable_standard_library(const char *home)
{
	char path[4096];
	int major = 0, minor = 0;
	static const char *const folders[] = {"lib", "lib64"};
	if(sscanf(py.Py_GetVersion(), "%d.%d", &major, &minor) != 2) return false;
	for(size_t i = 0; i < 2; i++){
		int length = snprintf(path, sizeof(path), "%s/%s/python%d.%d/encodings/__init__.py", home, folders[i], major, minor);
		if(length > 0 && (size_t)length < sizeof(path) && !access(path, R_OK)) return true;
	}
	/* Python itself would abort the process here, with a text that says less. */
	mosquitto_log_printf(LOG_ERR, "authplugin: plugin_opt_python_home: found %s, expected a folder with "
			"lib/python%d.%d that the broker's user (uid %d) may read", home, major, minor, (int)geteuid());
	return false;
}

/* Keeps what the shim itself needs of (verdict, plugin, tables). */
static bool keep(PyObject *answer)
{
	PyObject *plugin = py.PyTuple_GetItem(answer, 1);

	if(!take_tables(py.PyTuple_GetItem(answer, 2))) return false;
	gate.agreed = true;
	gate.authenticate = py.PyObject_GetAttrString(plugin, "authenticate");
	gate.authorize = py.PyObject_GetAttrString(plugin, "authorize");
	gate.challenge = py.PyObject_GetAttrString(plugin, "challenge");
	gate.prove = py.PyObject_GetAttrString(plugin, "prove");
	gate.tick = py.PyObject_GetAttrString(plugin, "tick");
	gate.disconnect = py.PyObject_GetAttrString(plugin, "disconnect");
	gate.reload = py.PyObject_GetAttrString(plugin, "reload");
	gate.stop = py.PyObject_GetAttrString(plugin, "stop");
	return gate.authenticate && gate.authorize && gate.challenge && gate.prove && gate.tick && gate.disconnect
		&& gate.reload && gate.stop;
}

/* Functions that not every broker has; what is missing is done without. */
static void look_up(void)
{
	void *process = dlopen(NULL, RTLD_NOW);
	/* The libcrypto of the broker's own TLS; not one that a Python module may carry. */
	void *tls = process ? dlsym(process, "SSL_CTX_new") : NULL;
	Dl_info from;

	if(process) *(void **)&gate.client_of = dlsym(process, "mosquitto_client");
	if(!tls || !dladdr(tls, &from)) return;
	void *library = dlopen(from.dli_fname, RTLD_NOW | RTLD_NOLOAD);
	if(!library) return;
	/* By the library's handle its dependencies are searched too, libcrypto among them. */
	*(void **)&gate.i2d_X509 = dlsym(library, "i2d_X509");
	*(void **)&gate.X509_free = dlsym(library, "X509_free");
	if(!gate.X509_free) gate.i2d_X509 = NULL;
}

static bool start(const char *site, const char *config)
{
	PyObject *main_module, *enter = NULL, *module = NULL, *function = NULL, *answer = NULL;
	bool good = false;

	if(!py.PyRun_SimpleString(ENTER)){
		main_module = py.PyImport_AddModule("__main__");
		enter = main_module ? py.PyObject_GetAttrString(main_module, "enter") : NULL;
	}
	PyObject *places[] = {py.PyUnicode_FromString(site)};
	PyObject *entered = call(enter, places, 1);
	if(entered) module = py.PyImport_ImportModule("authplugin.brokers.mosquitto.plugin");
	if(!module){
		mosquitto_log_printf(LOG_ERR, "authplugin: plugin_opt_python_site: found %s, expected the site-packages folder that "
				"assetgate is installed in, readable by the broker's user (uid %d)", site, (int)geteuid());
		log_exception("cannot import the gate", true);
	}else{
		function = py.PyObject_GetAttrString(module, "start");
		PyObject *arguments[] = {py.PyBytes_FromStringAndSize(config, (ptrdiff_t)strlen(config))};
		answer = call(function, arguments, 1);
		bool stands = answer && py.PyTuple_Size(answer) == 3 && number_at(answer, 0) == ALLOW;
		if(stands) good = keep(answer);
		if(!good){
			ptrdiff_t length;
			const char *text = answer && !stands && py.PyTuple_Size(answer) == 3 ? text_at(answer, 1, &length) : NULL;
			if(text) mosquitto_log_printf(LOG_ERR, "authplugin: %s", text);
			else log_exception("the gate did not start", true);
		}
	}
	if(answer) py.Py_DecRef(answer);
	if(function) py.Py_DecRef(function);
	if(module) py.Py_DecRef(module);
	if(entered) py.Py_DecRef(entered);
	if(enter) py.Py_DecRef(enter);
	py.PyErr_Clear();
	return good;
}

static const struct { int event; callback_fn callback; bool since_2_1; } CALLBACKS[] = {
	{EVT_BASIC_AUTH, on_basic_auth, false},
	{EVT_ACL_CHECK, on_acl_check, false},
	{EVT_EXT_AUTH_START, on_auth_start, false},
	{EVT_EXT_AUTH_CONTINUE, on_auth_continue, false},
	{EVT_TICK, on_tick, false},
	{EVT_DISCONNECT, on_disconnect, false},
	/* What 2.1 says instead of DISCONNECT where the session is stored; its data begin with the same three fields. */
	{EVT_CLIENT_OFFLINE, on_disconnect, true},
	{EVT_RELOAD, on_reload, false},
};
enum { CALLBACK_COUNT = sizeof(CALLBACKS) / sizeof(CALLBACKS[0]) };

/*
 * Python is asked to stop its threads and is never finalised: the process ends now anyway. Also at exit(): a broker that
 * ends while it starts (another plugin, a port in use) cleans no plugin up, and Python's threads would meet an OpenSSL
 * whose own exit handler has run.
 */
static void stop(void)
{
	if(gate.stopped) return;
	gate.stopped = true;
	int gil = py.PyGILState_Ensure();
	ask(gate.stop, "the gate failed to stop", NULL, 0, NULL, NULL);
	py.PyGILState_Release(gil);
}

static int refuse(void)
{
	mosquitto_log_printf(LOG_ERR, "authplugin: the broker does not start without its gate");
	return ERR_UNKNOWN;
}

EXPORT int mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
	for(int i = 0; i < supported_version_count; i++){
		if(supported_versions[i] == PLUGIN_VERSION) return PLUGIN_VERSION;
	}
	return -1;
}

EXPORT int mosquitto_plugin_init(void *identifier, void **userdata, struct mosquitto_opt *options, int option_count)
{
	const char *libpython = NULL, *home = NULL, *site = NULL, *config = NULL;
	(void)userdata;

	/* One image, one interpreter: a second `plugin` line would replace the first one's gate. */
	if(gate.started){
		mosquitto_log_printf(LOG_ERR, "authplugin: this plugin is configured twice: keep one `plugin` line, before the listeners");
		return refuse();
	}
	gate.started = true;
	for(int i = 0; i < option_count; i++){
		const char *key = options[i].key;
		const char **slot = !strcmp(key, "libpython") ? &libpython : !strcmp(key, "python_home") ? &home
			: !strcmp(key, "python_site") ? &site : !strcmp(key, "config_file") ? &config : NULL;
		if(!slot){
			mosquitto_log_printf(LOG_ERR, "authplugin: plugin_opt_%s: found an unknown option, expected libpython, "
					"python_home, python_site or config_file", key);
			return refuse();
		}
		*slot = options[i].value;
	}
	if(!libpython || !home || !site || !config){
		mosquitto_log_printf(LOG_ERR, "authplugin: plugin_opt_%s: found nothing, expected the line that `authplugin mosquitto build` prints",
				!libpython ? "libpython" : !home ? "python_home" : !site ? "python_site" : "config_file");
		return refuse();
	}
	if(!load(libpython)) return refuse();
	if(py.Py_IsInitialized()){
		mosquitto_log_printf(LOG_ERR, "authplugin: another plugin of this broker already runs Python: use one of them");
		return refuse();
	}
	if(!readable_standard_library(home)) return refuse();
	look_up();
	initialise(dlopen(libpython, RTLD_NOW | RTLD_NOLOAD), home);
	if(!py.Py_IsInitialized()) return refuse();
	bool good = start(site, config);
	/* From here on Python's own threads run whenever the broker waits. */
	py.PyEval_SaveThread();
	if(!good) return refuse();
	/* After Python and what it imported: handlers run in the opposite order. */
	if(atexit(stop)) return refuse();

	gate.identifier = identifier;
	for(int i = 0; i < CALLBACK_COUNT; i++){
		int refused = mosquitto_callback_register(identifier, CALLBACKS[i].event, CALLBACKS[i].callback, NULL, NULL);
		if(refused && !(refused == ERR_NOT_SUPPORTED && CALLBACKS[i].since_2_1)){
			mosquitto_log_printf(LOG_ERR, "authplugin: the broker does not take callback %d", CALLBACKS[i].event);
			return refuse();
		}
	}
	return ERR_SUCCESS;
}

EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
	(void)userdata;
	(void)options;
	(void)option_count;
	if(!gate.identifier) return ERR_SUCCESS;
	for(int i = 0; i < CALLBACK_COUNT; i++){
		mosquitto_callback_unregister(gate.identifier, CALLBACKS[i].event, CALLBACKS[i].callback, NULL);
	}
	stop();
	return ERR_SUCCESS;
}
