/*
 * A plugin that lets everybody in: what a plugin of Mosquitto costs before it does anything.
 * The interface is version 5 of mosquitto_broker.h, declared as far as it is used.
 */
#include <stddef.h>

enum { PLUGIN_VERSION = 5, EVT_BASIC_AUTH = 3, ERR_SUCCESS = 0 };

struct mosquitto_opt { char *key; char *value; };

extern int mosquitto_callback_register(void *, int, int (*)(int, void *, void *), const void *, void *);

static int on_basic_auth(int event, void *event_data, void *userdata)
{
	(void)event;
	(void)event_data;
	(void)userdata;
	return ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	for(int i = 0; i < count; i++) if(versions[i] == PLUGIN_VERSION) return PLUGIN_VERSION;
	return -1;
}

int mosquitto_plugin_init(void *identifier, void **userdata, struct mosquitto_opt *options, int count)
{
	(void)userdata;
	(void)options;
	(void)count;
	return mosquitto_callback_register(identifier, EVT_BASIC_AUTH, on_basic_auth, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
	(void)userdata;
	(void)options;
	(void)count;
	return ERR_SUCCESS;
}
