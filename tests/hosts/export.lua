-- Exports a session's range by one of the user's presets.
--
-- arguments: session folder, session name, folder and name (without its ending) of the exported file, the preset's id

local folder, name, target, stem, preset = table.unpack(arg)
AudioEngine:set_backend("None (Dummy)", "", "")
local session = assert(load_session(folder, name))

-- What a session has to do once it is loaded is done in its first blocks. `ardour7-export` does not wait for them: now
-- and then, with a busy processor, Ardour 7.3 then begins the export with a lock that what is still to be done needs,
-- and both wait for ever.
ARDOUR.LuaAPI.usleep(2e6)

local export = session:simple_export()
assert(export:set_preset(preset), "Ardour does not find the preset")
export:set_folder(target)
export:set_name(stem)
assert(export:run_export(), "Ardour does not export")
close_session()
quit()
