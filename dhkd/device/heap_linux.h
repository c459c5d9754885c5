#pragma once

// dhkd_keep_memory makes the C library keep the memory that a program frees, in huge pages.
void dhkd_keep_memory(void);

// dhkd_give_back_memory gives what is free now back to the system, once.
void dhkd_give_back_memory(void);
