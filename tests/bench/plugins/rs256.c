/*
 * The least that a plugin in C does about a token, with OpenSSL: loads its one key at the start, and
 * for each client decodes the three parts, verifies RS256 and compares exp. It looks at nothing else
 * (no issuer, audience, client id, duplicates), keeps no session and never disconnects anybody: a
 * floor to measure against, not a gate.
 *
 * The interface is version 5 of mosquitto_broker.h, declared as far as it is used.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PLUGIN_VERSION = 5, EVT_BASIC_AUTH = 3, ERR_SUCCESS = 0, ERR_AUTH = 11, ERR_UNKNOWN = 13, PART = 8192, LEEWAY = 30 };

struct mosquitto;
struct mosquitto_opt { char *key; char *value; };
struct evt_basic_auth { void *future; struct mosquitto *client; char *username; char *password; void *future2[4]; };

extern int mosquitto_callback_register(void *, int, int (*)(int, void *, void *), const void *, void *);

static EVP_PKEY *key;
static EVP_MD_CTX *context;
static signed char digits[256];

/* Base64url without padding; the number of bytes, -1 when it is anything else. */
static int decode(const char *text, size_t length, unsigned char *out)
{
	unsigned int bits = 0, held = 0;
	int written = 0;
	if(length > PART || length % 4 == 1) return -1;
	for(size_t i = 0; i < length; i++){
		signed char digit = digits[(unsigned char)text[i]];
		if(digit < 0) return -1;
		bits = bits << 6 | (unsigned int)digit;
		held += 6;
		if(held >= 8){
			held -= 8;
			out[written++] = (unsigned char)(bits >> held);
		}
	}
	return written;
}

static int on_basic_auth(int event, void *event_data, void *userdata)
{
	struct evt_basic_auth *e = event_data;
	unsigned char header[PART + 1], payload[PART + 1], signature[PART + 1];
	(void)event;
	(void)userdata;

	if(!e->password) return ERR_AUTH;
	const char *first = strchr(e->password, '.');
	const char *second = first ? strchr(first + 1, '.') : NULL;
	if(!second) return ERR_AUTH;
	int header_length = decode(e->password, (size_t)(first - e->password), header);
	int payload_length = decode(first + 1, (size_t)(second - first - 1), payload);
	int signature_length = decode(second + 1, strlen(second + 1), signature);
	if(header_length < 0 || payload_length < 0 || signature_length < 0) return ERR_AUTH;
	header[header_length] = payload[payload_length] = '\0';
	if(!strstr((char *)header, "\"alg\":\"RS256\"")) return ERR_AUTH;

	EVP_MD_CTX_reset(context);
	if(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) != 1) return ERR_AUTH;
	if(EVP_DigestVerify(context, signature, (size_t)signature_length, (unsigned char *)e->password,
				(size_t)(second - e->password)) != 1) return ERR_AUTH;

	const char *expires = strstr((char *)payload, "\"exp\":");
	if(!expires || strtoll(expires + 6, NULL, 10) + LEEWAY <= (long long)time(NULL)) return ERR_AUTH;
	return ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	for(int i = 0; i < count; i++) if(versions[i] == PLUGIN_VERSION) return PLUGIN_VERSION;
	return -1;
}

int mosquitto_plugin_init(void *identifier, void **userdata, struct mosquitto_opt *options, int count)
{
	static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	(void)userdata;
	memset(digits, -1, sizeof(digits));
	for(int i = 0; i < 64; i++) digits[(unsigned char)ALPHABET[i]] = (signed char)i;
	if(count != 1 || strcmp(options[0].key, "public_key")) return ERR_UNKNOWN;
	FILE *file = fopen(options[0].value, "r");
	if(!file) return ERR_UNKNOWN;
	key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
	fclose(file);
	context = EVP_MD_CTX_new();
	if(!key || !context) return ERR_UNKNOWN;
	return mosquitto_callback_register(identifier, EVT_BASIC_AUTH, on_basic_auth, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
	(void)userdata;
	(void)options;
	(void)count;
	return ERR_SUCCESS;
}
