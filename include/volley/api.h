/* api.h - what the shared library exports */
#ifndef VOLLEY_API_H
#define VOLLEY_API_H

#if defined(__GNUC__)
#define VLY_API __attribute__((visibility("default")))
#define VLY_MUST_USE __attribute__((warn_unused_result))
#else
#define VLY_API
#define VLY_MUST_USE
#endif

#endif
