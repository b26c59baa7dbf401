/* volley.h - the whole public API */
#ifndef VOLLEY_VOLLEY_H
#define VOLLEY_VOLLEY_H

#include "volley/addr.h"
#include "volley/api.h"
#include "volley/config.h"
#include "volley/core.h"
#include "volley/engine.h"
#include "volley/event.h"
#include "volley/log.h"
#include "volley/loop.h"
#include "volley/port.h"
#include "volley/stats.h"

#endif
