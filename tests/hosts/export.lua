-- Exports a session's range with one of the user's presets.
--
-- arguments: session folder, session name, folder and name (without its ending) of the exported file, the preset's id

local folder, name, target, stem, preset = table.unpack(arg)
AudioEngine:set_backend("None (Dummy)", "", "")
local session = assert(load_session(folder, name))

-- A loaded session finishes its work in its first blocks, of which a script gets no sign. Without this pause, on a busy
-- processor, Ardour 7.3 sometimes begins the export with a lock that this work needs, and neither ends.
ARDOUR.LuaAPI.usleep(2e6)

local export = session:simple_export()
assert(export:set_preset(preset), "Ardour does not find the preset")
export:set_folder(target)
export:set_name(stem)
assert(export:run_export(), "Ardour does not export")
close_session()
quit()
